//! A key is replaced, with all that the old one had signed: nodes believe on without a gap, and the old key is nobody's.

use axum::http::Method;
use sixfold_api::client::{Client, ClientError, News};
use sixfold_api::problem::Kind;
use sixfold_api::resource::{Done, Keys, Network, Put, Rotated};
use sixfold_core::id::Label;
use sixfold_core::key::PublicKey;
use sixfold_core::model::{DeviceReport, Seat, Snapshot};
use sixfold_core::trust::{
    DeviceOf, DeviceStatement, NodeStatement, Owner, Pins, Proofs, Role, Rotation, Seen, Signed, Statement,
    admit,
};

use super::flow::{
    self, FARMER, NODES, TENANT, delegation, farm, joined, live, network, news, node, node_statement, put,
    refused, send, token,
};
use super::{REGISTRY, Running, signing};

/// The seed of the key that comes after another.
const fn next(seed: u8) -> u8 {
    seed + 0x30
}

fn rotation(owner: Owner, seed: u8, sequence: u32) -> Signed {
    let rotation = Rotation { owner, sequence, next: signing(next(seed)).verifying() };
    Signed::new(&rotation, &signing(seed))
}

fn by<T: Statement>(statement: &T, seed: u8) -> Signed {
    Signed::new(statement, &signing(seed))
}

async fn rotate(client: &mut Client, owner: &Owner, rotated: &Rotated) -> Result<Done, ClientError> {
    client.send(Method::PUT, &format!("/v1/keys/{}/{}", owner.role, owner.id), rotated, None).await
}

/// What a node makes of what it is told, after what it saw before; it refuses nothing.
fn goes_on(proofs: &Proofs, seed: u8, seen: &Seen) -> (Snapshot, Seen) {
    let pins = Pins { registry: signing(REGISTRY).verifying(), farm: farm() };
    let admitted = admit(proofs, &pins, seen, &node(seed));
    assert_eq!(admitted.refusals, []);
    (admitted.snapshot.unwrap(), admitted.seen)
}

async fn told(client: &mut Client, seed: u8) -> Proofs {
    let News::Changed { value, .. } = news(client, seed, None, 0).await else { panic!("nothing") };
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn a_farmers_key_is_replaced_with_the_farm_and_nobody_notices() {
    let running = Running::registry();
    let [mut farmer, mut holder, _other] = joined(&running).await;
    let mut tenant = running.client(Some(TENANT));
    send(&mut tenant, &format!("/v1/networks/{}", network()), &put(&live(1, &NODES), TENANT)).await.unwrap();
    let (before, seen) = goes_on(&told(&mut holder, NODES[0]).await, NODES[0], &Seen::default());
    let owner = Owner::farmer(&farm());
    let chain = vec![rotation(owner.clone(), FARMER, 1)];
    let rotated = |statements| Rotated { rotations: chain.clone(), statements };
    let again = |version, held, seed| rotated(vec![by(&delegation(version, held), seed)]);
    let new = next(FARMER);
    // Not without what is known, not by the old key, nothing else on the way, not of somebody else.
    assert_eq!(refused(rotate(&mut farmer, &owner, &rotated(Vec::new())).await), Kind::Conflict);
    assert_eq!(refused(rotate(&mut farmer, &owner, &again(3, true, FARMER)).await), Kind::Refused);
    assert_eq!(refused(rotate(&mut farmer, &owner, &again(2, true, new)).await), Kind::Conflict);
    assert_eq!(refused(rotate(&mut farmer, &owner, &again(3, false, new)).await), Kind::Conflict);
    assert_eq!(refused(rotate(&mut tenant, &owner, &again(3, true, new)).await), Kind::Forbidden);
    let theirs = Owner { role: Role::Tenant, id: network().tenant.into() };
    assert_eq!(refused(rotate(&mut tenant, &theirs, &again(3, true, new)).await), Kind::Refused);
    let key_path = format!("/v1/keys/farmer/{}", farm());
    assert_eq!(refused(tenant.get::<Keys>(&key_path).await), Kind::NotFound);

    rotate(&mut farmer, &owner, &again(3, true, new)).await.unwrap();
    let (after, _) = goes_on(&told(&mut holder, NODES[0]).await, NODES[0], &seen);
    assert_eq!(Snapshot { revision: before.revision, ..after }, before, "nothing but who signed has changed");
    assert_eq!(tenant.get::<Keys>(&key_path).await.unwrap().rotations, chain);
    // From now on the new key is the farmer, and the old one nobody.
    let mut renewed = running.client(Some(new));
    let path = format!("/v1/farms/{}", farm());
    assert_eq!(refused(send(&mut farmer, &path, &put(&delegation(4, true), FARMER)).await), Kind::Forbidden);
    assert_eq!(refused(send(&mut renewed, &path, &put(&delegation(4, true), FARMER)).await), Kind::Refused);
    rotate(&mut renewed, &owner, &again(3, true, new)).await.expect("it was done, and is known");
    send(&mut renewed, &path, &put(&delegation(4, true), new)).await.unwrap();
    // Tokens are the new key's too.
    let (mut late, late_path) = (running.client(Some(9)), format!("/v1/nodes/{}", node(9)));
    let joins = |signer| Put { token: Some(token(90, signer)), ..put(&node_statement(9), 9) };
    assert_eq!(refused(send(&mut late, &late_path, &joins(FARMER)).await), Kind::Refused);
    send(&mut late, &late_path, &joins(new)).await.unwrap();
    // Another chain, or one that goes back, is not taken.
    let other = Rotation { owner: owner.clone(), sequence: 1, next: signing(0x77).verifying() };
    let forked = Rotated { rotations: vec![by(&other, FARMER)], statements: Vec::new() };
    assert_eq!(refused(rotate(&mut renewed, &owner, &forked).await), Kind::Conflict);
    let longer = Rotation { owner: owner.clone(), sequence: 2, next: signing(0x78).verifying() };
    let forked = [by(&other, FARMER), by(&longer, 0x77)].to_vec();
    let forked = Rotated { rotations: forked, statements: vec![by(&delegation(5, true), 0x78)] };
    assert_eq!(refused(rotate(&mut renewed, &owner, &forked).await), Kind::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_and_a_nodes_keys_are_replaced_with_networks_and_devices() {
    let running = Running::registry();
    let [_farmer, mut holder, mut other] = joined(&running).await;
    let mut tenant = running.client(Some(TENANT));
    let path = format!("/v1/networks/{}", network());
    let done = send(&mut tenant, &path, &put(&live(1, &NODES), TENANT)).await.unwrap();
    let [_, seed] = NODES;
    let grant = done.grants.iter().find(|held| held.seat == Seat::Node(node(seed))).unwrap();
    let device = |version| {
        let (key, generation) = (grant.resource, grant.generation);
        let of = DeviceOf { node: node(seed), key, generation, network: network() };
        let endpoints = vec!["[2001:db8:f::3]:5000".parse().unwrap()];
        let report =
            DeviceReport { public_key: PublicKey::from_bytes([7; 32]), listen_port: 5000, endpoints };
        DeviceStatement::new(of, version, report).unwrap()
    };
    let devices = format!("/v1/nodes/{}/devices", node(seed));
    send(&mut other, &devices, &put(&device(1), seed)).await.unwrap();
    let (before, seen) = goes_on(&told(&mut holder, NODES[0]).await, NODES[0], &Seen::default());

    let id: Label = network().tenant.into();
    let owner = Owner { role: Role::Tenant, id };
    let rotations = vec![rotation(owner.clone(), TENANT, 1)];
    let statements = vec![by(&live(2, &NODES), next(TENANT))];
    rotate(&mut tenant, &owner, &Rotated { rotations, statements }).await.unwrap();
    let mut renewed = running.client(Some(next(TENANT)));
    let known: Network = renewed.get(&path).await.unwrap();
    assert_eq!((known.version, known.grants), (2, done.grants.clone()));
    assert_eq!(refused(tenant.get::<Network>(&path).await), Kind::Forbidden);

    let owner = Owner::node(&node(seed));
    let rotations = vec![rotation(owner.clone(), seed, 1)];
    let node_again = by(&NodeStatement { version: 2, ..node_statement(seed) }, next(seed));
    let without = Rotated { rotations: rotations.clone(), statements: vec![node_again.clone()] };
    assert_eq!(refused(rotate(&mut other, &owner, &without).await), Kind::Conflict, "its device is missing");
    let statements = vec![node_again, by(&device(2), next(seed))];
    rotate(&mut other, &owner, &Rotated { rotations, statements }).await.unwrap();
    let (after, seen) = goes_on(&told(&mut holder, NODES[0]).await, NODES[0], &seen);
    assert_eq!(Snapshot { revision: before.revision, ..after }, before);
    // The node itself goes on with its new key.
    assert_eq!(refused(send(&mut other, &devices, &put(&device(3), seed)).await), Kind::Forbidden);
    let mut renewed_node = running.client(Some(next(seed)));
    let path_of_node = format!("/v1/nodes/{}/snapshot", node(seed));
    renewed_node.get::<Proofs>(&path_of_node).await.unwrap();
    send(&mut renewed_node, &devices, &put(&device(3), next(seed))).await.unwrap();
    let (_, _) = goes_on(&told(&mut holder, NODES[0]).await, NODES[0], &seen);
    // And once more.
    let owner = Owner { role: Role::Tenant, id: network().tenant.into() };
    let rotations = vec![rotation(owner.clone(), TENANT, 1), rotation(owner.clone(), next(TENANT), 2)];
    let statements = vec![by(&flow::live(3, &NODES), next(next(TENANT)))];
    rotate(&mut renewed, &owner, &Rotated { rotations, statements }).await.unwrap();
    assert_eq!(refused(renewed.get::<Network>(&path).await), Kind::Forbidden);
    running.client(Some(next(next(TENANT)))).get::<Network>(&path).await.unwrap();
}
