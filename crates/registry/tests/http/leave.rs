//! A node leaves by its own word or its farmer's, by nobody else's, and comes back only by a token.

use axum::http::Method;
use sixfold_api::client::{Client, ClientError, News};
use sixfold_api::event::{EventKind, Events};
use sixfold_api::problem::Kind;
use sixfold_api::resource::{Done, Farm, Network, Node, Put};
use sixfold_core::model::Seat;
use sixfold_core::trust::{Confirm, Leaving, NodeStatement, Owner, Signed};

use super::flow::{
    self, FARMER, NODES, TENANT, farm, joined, node, node_statement, put, refused, send, token,
};
use super::{Running, signing};

fn leaving(seed: u8, version: u64) -> Leaving {
    Leaving { node: node(seed), farm: farm(), version }
}

async fn delete(client: &mut Client, seed: u8, put: &Put) -> Result<Done, ClientError> {
    client.send(Method::DELETE, &format!("/v1/nodes/{}", node(seed)), put, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_leaves_by_its_own_word_or_its_farmers_and_comes_back_by_a_token() {
    let running = Running::registry();
    let [mut farmer, mut holder, mut other] = joined(&running).await;
    let [first, second] = NODES;
    // It holds a slot, or a network lists it.
    assert_eq!(refused(delete(&mut holder, first, &put(&leaving(first, 2), first)).await), Kind::Refused);
    let mut tenant = running.client(Some(TENANT));
    let network = format!("/v1/networks/{}", flow::network());
    send(&mut tenant, &network, &put(&flow::live(1, &[second]), TENANT)).await.unwrap();
    assert_eq!(refused(delete(&mut other, second, &put(&leaving(second, 2), second)).await), Kind::Refused);
    send(&mut tenant, &network, &put(&flow::live(2, &[first]), TENANT)).await.unwrap();
    // Whose word it is: not the tenant's, not another node's, not about another node or farm, not an old one.
    let by = |signer| put(&leaving(second, 2), signer);
    assert_eq!(refused(delete(&mut tenant, second, &by(TENANT)).await), Kind::Forbidden);
    assert_eq!(refused(delete(&mut holder, second, &by(first)).await), Kind::Forbidden);
    assert_eq!(refused(delete(&mut other, second, &by(first)).await), Kind::Refused);
    assert_eq!(refused(delete(&mut other, second, &put(&leaving(first, 2), second)).await), Kind::Refused);
    let elsewhere = Leaving { farm: "elsewhere".parse().unwrap(), ..leaving(second, 2) };
    assert_eq!(refused(delete(&mut other, second, &put(&elsewhere, second)).await), Kind::Refused);
    assert_eq!(refused(delete(&mut other, second, &put(&leaving(second, 1), second)).await), Kind::Conflict);

    delete(&mut other, second, &by(second)).await.unwrap();
    let known: Farm = farmer.get(&format!("/v1/farms/{}", farm())).await.unwrap();
    assert_eq!(known.nodes.len(), 1);
    let path = format!("/v1/nodes/{}", node(second));
    assert_eq!(refused(other.get::<Node>(&path).await), Kind::NotFound);
    // Said again, by either.
    delete(&mut other, second, &by(second)).await.unwrap();
    delete(&mut farmer, second, &by(FARMER)).await.unwrap();
    // What it said before it left brings it back no more, nor does what it says now without a token.
    let again =
        |version, token| Put { token, ..put(&NodeStatement { version, ..node_statement(second) }, second) };
    assert_eq!(refused(send(&mut other, &path, &again(1, Some(token(70, FARMER)))).await), Kind::Conflict);
    assert_eq!(refused(send(&mut other, &path, &again(3, None)).await), Kind::Forbidden);
    send(&mut other, &path, &again(3, Some(token(71, FARMER)))).await.unwrap();
    // The farmer's word.
    delete(&mut farmer, second, &put(&leaving(second, 4), FARMER)).await.unwrap();
    assert_eq!(refused(other.get::<Node>(&path).await), Kind::NotFound);
}

/// The farmer's word that so many resources may be lost with exactly this.
pub(super) fn confirmed(problem: &sixfold_api::problem::Problem, put: &Put, limit: u32) -> Put {
    let change = problem.change.as_deref().unwrap().parse().unwrap();
    let confirm = Confirm { owner: Owner::farmer(&farm()), change, limit };
    Put { confirmation: Some(Signed::new(&confirm, &signing(FARMER))), ..put.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_farmer_takes_a_machine_away_and_networks_go_on_without_it() {
    let running = Running::registry();
    let [mut farmer, _holder, mut other] = joined(&running).await;
    let [first, second] = NODES;
    let mut tenant = running.client(Some(TENANT));
    let path = format!("/v1/networks/{}", flow::network());
    let whole = put(&flow::live(1, &NODES), TENANT);
    send(&mut tenant, &path, &whole).await.unwrap();
    let before: Network = tenant.get(&path).await.unwrap();
    assert_eq!(before.grants.len(), 3);
    // Not by the node's own word; by the farmer's, once it is said what tenants lose.
    assert_eq!(refused(delete(&mut other, second, &put(&leaving(second, 2), second)).await), Kind::Refused);
    let asked = put(&leaving(second, 2), FARMER);
    let Err(ClientError::Refused(problem)) = delete(&mut farmer, second, &asked).await else { panic!() };
    assert_eq!((problem.kind, problem.detail.contains("would lose 1 resources")), (Kind::Unconfirmed, true));
    assert_eq!(tenant.get::<Network>(&path).await.unwrap(), before, "nothing is done yet");
    delete(&mut farmer, second, &confirmed(&problem, &asked, 1)).await.unwrap();

    let after: Network = tenant.get(&path).await.unwrap();
    assert_eq!((after.version, after.deleted, &after.statement), (1, false, &whole.statement));
    assert_eq!(after.grants.len(), 2, "its prefix and no other is released");
    assert!(after.grants.iter().all(|held| held.seat != Seat::Node(node(second))));
    let events: Events = tenant.get("/v1/events?after=0&wait=0").await.unwrap();
    let taken: Vec<_> =
        events.events.iter().filter(|event| event.what.kind == EventKind::NodeTaken).collect();
    assert_eq!(taken.len(), 1);
    assert_eq!((&taken[0].what.node, &taken[0].what.network), (&Some(node(second)), &Some(flow::network())));
    // The other node hears of it, and believes what is left.
    let News::Changed { value, .. } = flow::news(&mut running.client(Some(first)), first, None, 0).await
    else {
        panic!("nothing")
    };
    assert_eq!(flow::believed(&value, first).networks[0].resources.len(), 2);

    // It comes back, and has nothing of the network until its tenant says so again.
    let join = NodeStatement { version: 3, ..node_statement(second) };
    let join = Put { token: Some(token(70, FARMER)), ..put(&join, second) };
    send(&mut other, &format!("/v1/nodes/{}", node(second)), &join).await.unwrap();
    assert_eq!(tenant.get::<Network>(&path).await.unwrap().grants.len(), 2);
    let again = send(&mut tenant, &path, &put(&flow::live(2, &NODES), TENANT)).await.unwrap();
    let back = |grants: &[sixfold_api::resource::Held]| {
        let own = grants.iter().find(|held| held.seat == Seat::Node(node(second)));
        own.map(|held| (held.resource, held.generation.0)).unwrap()
    };
    let (resource, generation) = back(&before.grants);
    assert_eq!(back(&again.grants), (resource, generation + 1), "the prefix that rested for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_whose_last_node_is_taken_away_is_on_none_and_still_its_tenants() {
    let running = Running::registry();
    let [mut farmer, _holder, _other] = joined(&running).await;
    let [first, second] = NODES;
    let mut tenant = running.client(Some(TENANT));
    let path = format!("/v1/networks/{}", flow::network());
    send(&mut tenant, &path, &put(&flow::live(1, &[second]), TENANT)).await.unwrap();
    let asked = put(&leaving(second, 2), FARMER);
    let Err(ClientError::Refused(problem)) = delete(&mut farmer, second, &asked).await else { panic!() };
    delete(&mut farmer, second, &confirmed(&problem, &asked, 2)).await.unwrap();
    let after: Network = tenant.get(&path).await.unwrap();
    assert_eq!((after.deleted, after.grants.len()), (false, 0));
    assert_eq!(
        refused(send(&mut tenant, &path, &put(&flow::live(2, &[second]), TENANT)).await),
        Kind::Refused
    );
    let done = send(&mut tenant, &path, &put(&flow::live(2, &[first]), TENANT)).await.unwrap();
    assert_eq!(done.grants.len(), 2);
}
