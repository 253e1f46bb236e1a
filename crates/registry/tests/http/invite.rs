//! Who may make a farm, and with which allocations: whom the operator invited, each once. What a farm has needs no invitation
//! any more. And how a farm that nobody is in goes again.

use axum::http::Method;
use sixfold_api::client::{Client, ClientError};
use sixfold_api::event::{EventKind, Events};
use sixfold_api::problem::Kind;
use sixfold_api::resource::{Done, Farm, Farms, Put};
use sixfold_core::id::FarmId;
use sixfold_core::model::FarmDraft;
use sixfold_core::trust::{
    Delegation, Dissolution, Invitation, Leaving, NetworkStatement, Role, Signed, Subject,
};
use sixfold_registry::fsck::fsck;
use sixfold_registry::store::Sqlite;

use super::flow::{
    FARMER, NODES, TENANT, delegation, farm, joined, later, live, network, put, refused, send,
};
use super::flow::{node, node_statement, token};
use super::leave::confirmed;
use super::{ADMIN, REGISTRY, Running, signing};

/// Another farmer.
const OTHER: u8 = 0x31;

fn invitation(nonce: u8, (signer, registry): (u8, u8), expires: u64) -> String {
    invitation_for(&["2001:db8:a::/48", "2001:db8:b00::/40"], nonce, (signer, registry), expires)
}

fn invitation_for(prefixes: &[&str], nonce: u8, (signer, registry): (u8, u8), expires: u64) -> String {
    let registry_key = signing(registry).verifying();
    let prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
    let invitation = Invitation { registry_key, nonce: [nonce; 16], expires, prefixes };
    Invitation::write(&Signed::new(&invitation, &signing(signer)))
}

async fn create(client: &mut Client, said: &Put, token: Option<String>) -> Result<Done, ClientError> {
    send(client, &format!("/v1/farms/{}", farm()), &Put { token, ..said.clone() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_farm_is_made_by_whom_the_operator_invited_and_once() {
    let running = Running::closed();
    let mut farmer = running.client(Some(FARMER));
    let said = put(&delegation(1, false), FARMER);
    let good = invitation(1, (ADMIN, REGISTRY), later());
    let bad = [
        None,
        Some("sixfold-farm1.".to_owned()),
        Some(good[..good.len() - 1].to_owned()),
        Some(invitation(2, (FARMER, REGISTRY), later())),
        Some(invitation(3, (ADMIN, 0x55), later())),
        Some(invitation(4, (ADMIN, REGISTRY), 1)),
        Some(invitation(6, (ADMIN, REGISTRY), 1 << 40)),
        Some(invitation_for(&["2001:db8:b::/48"], 7, (ADMIN, REGISTRY), later())),
    ];
    for token in bad {
        assert_eq!(refused(create(&mut farmer, &said, token.clone()).await), Kind::Refused, "{token:?}");
    }
    create(&mut farmer, &said, Some(good.clone())).await.unwrap();
    create(&mut farmer, &said, Some(good.clone())).await.expect("it was done, and is known");
    send(&mut farmer, &format!("/v1/farms/{}", farm()), &put(&delegation(2, false), FARMER)).await.unwrap();
    // Nobody else by the same one.
    let id: FarmId = signing(OTHER).verifying().id(Role::Farmer).into();
    let other = FarmDraft {
        id: id.clone(),
        allocations: vec!["2001:db8:b01::/48".parse().unwrap()],
        ..delegation(1, false).with_nodes(Vec::new())
    };
    let other = put(&Delegation::new(other, "beta".parse().unwrap(), 1).unwrap(), OTHER);
    let (mut second, path) = (running.client(Some(OTHER)), format!("/v1/farms/{id}"));
    let by = |token| Put { token: Some(token), ..other.clone() };
    assert_eq!(refused(send(&mut second, &path, &by(good)).await), Kind::Conflict);
    send(&mut second, &path, &by(invitation(5, (ADMIN, REGISTRY), later()))).await.unwrap();
}

/// The farm with these allocations.
fn with(version: u64, allocations: &[&str]) -> Put {
    let allocations = allocations.iter().map(|prefix| prefix.parse().unwrap()).collect();
    let draft = FarmDraft { allocations, ..delegation(1, false).with_nodes(Vec::new()) };
    put(&Delegation::new(draft, "alpha".parse().unwrap(), version).unwrap(), FARMER)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_farm_takes_allocations_that_an_invitation_names_and_no_others() {
    let running = Running::closed();
    let mut farmer = running.client(Some(FARMER));
    let by = |nonce, prefixes: &[&str]| Some(invitation_for(prefixes, nonce, (ADMIN, REGISTRY), later()));
    let own = "2001:db8:a::/48";
    // Another's prefix beside one's own; a wider one than was named.
    for bad in [&[own, "2001:db8:b::/48"][..], &["2001:db8::/40"]] {
        let answer = create(&mut farmer, &with(1, bad), by(1, &[own])).await;
        let Err(ClientError::Refused(problem)) = answer else { panic!("{answer:?}") };
        assert_eq!(problem.kind, Kind::Refused);
        assert!(
            problem.hints[0].contains(&format!("`sixfold farm invite {}`", bad.last().unwrap())),
            "{problem:?}"
        );
    }
    create(&mut farmer, &with(1, &[own]), by(1, &[own])).await.unwrap();
    // What comes later too; a part of what it has is its own.
    let more = with(2, &[own, "2001:db8:c00::/40"]);
    assert_eq!(refused(create(&mut farmer, &more, None).await), Kind::Refused);
    assert_eq!(refused(create(&mut farmer, &more, by(1, &[own, "2001:db8:c00::/40"])).await), Kind::Conflict);
    create(&mut farmer, &more, by(2, &["2001:db8:c00::/40"])).await.unwrap();
    create(&mut farmer, &more, None).await.expect("it is so already");
    create(&mut farmer, &with(3, &[own, "2001:db8:c01::/48"]), None).await.unwrap();
    assert_eq!(
        refused(create(&mut farmer, &with(4, &[own, "2001:db8:c02::/48"]), None).await),
        Kind::Refused
    );
    create(&mut farmer, &with(4, &[own]), None).await.expect("a farm can always be made smaller");
}

async fn dissolve(client: &mut Client, version: u64, signer: u8) -> Result<Done, ClientError> {
    let said = put(&Dissolution { farm: farm(), version }, signer);
    client.send(Method::DELETE, &format!("/v1/farms/{}", farm()), &said, None).await
}

/// The same, and that it is meant, where the registry wants that said.
async fn meant(farmer: &mut Client, method: Method, path: &str, put: &Put) {
    if let Err(error) = farmer.send::<Done>(method.clone(), path, put, None).await {
        let ClientError::Refused(problem) = error else { panic!("{error}") };
        farmer.send::<Done>(method, path, &confirmed(&problem, put, 0), None).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_takes_a_farm_away_that_nobody_is_in_and_its_farmer_may_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.db");
    let running = Running::registry_on("[::1]:0", Box::new(Sqlite::open(&path).unwrap()));
    let [mut farmer, _holder, _other] = joined(&running).await;
    let (mut admin, mut tenant) = (running.client(Some(ADMIN)), running.client(Some(TENANT)));
    let web = format!("/v1/networks/{}", network());
    send(&mut tenant, &web, &put(&live(1, &NODES), TENANT)).await.unwrap();
    let Err(ClientError::Refused(problem)) = dissolve(&mut admin, 3, ADMIN).await else { panic!() };
    assert_eq!(problem.kind, Kind::Refused);
    assert!(problem.detail.contains("2 nodes are in it, and 1 networks on them"), "{problem:?}");
    // Everybody leaves.
    let gone = NetworkStatement { version: 2, subject: Subject::Deleted(network()) };
    send(&mut tenant, &web, &put(&gone, TENANT)).await.unwrap();
    let path_of_farm = format!("/v1/farms/{}", farm());
    meant(&mut farmer, Method::PUT, &path_of_farm, &put(&delegation(3, false), FARMER)).await;
    for seed in NODES {
        let leaving = put(&Leaving { node: node(seed), farm: farm(), version: 2 }, FARMER);
        meant(&mut farmer, Method::DELETE, &format!("/v1/nodes/{}", node(seed)), &leaving).await;
    }
    // By nobody's word but the operator's, and no old one.
    assert_eq!(refused(dissolve(&mut farmer, 4, FARMER).await), Kind::Forbidden);
    assert_eq!(refused(dissolve(&mut admin, 4, FARMER).await), Kind::Refused);
    assert_eq!(refused(dissolve(&mut admin, 3, ADMIN).await), Kind::Conflict);
    dissolve(&mut admin, 4, ADMIN).await.unwrap();
    dissolve(&mut admin, 4, ADMIN).await.expect("said again");
    let listed: Farms = tenant.get("/v1/farms").await.unwrap();
    assert_eq!(listed.farms, []);
    let known: Farm = tenant.get(&format!("/v1/farms/{}", farm())).await.unwrap();
    assert_eq!((known.deleted, known.version, known.allocations.len()), (true, 4, 0));
    let told: Events = farmer.get("/v1/events?after=0").await.unwrap();
    assert_eq!(told.events.last().unwrap().what.kind, EventKind::FarmDissolved);
    // No node joins it by a token that is left; what its farmer said before brings it back no more; a newer word does.
    let late = Put { token: Some(token(77, FARMER)), ..put(&node_statement(9), 9) };
    let joins = send(&mut running.client(Some(9)), &format!("/v1/nodes/{}", node(9)), &late).await;
    assert_eq!(refused(joins), Kind::NotFound);
    assert_eq!(fsck(&Sqlite::open_to_read(&path).unwrap()).unwrap().findings, []);
    assert_eq!(
        refused(send(&mut farmer, &path_of_farm, &put(&delegation(3, false), FARMER)).await),
        Kind::Conflict
    );
    send(&mut farmer, &path_of_farm, &put(&delegation(5, false), FARMER)).await.unwrap();
    assert_eq!(fsck(&Sqlite::open_to_read(&path).unwrap()).unwrap().findings, []);
}
