//! A node leaves by its own word or its farmer's, by nobody else's, and comes back only by a token.

use axum::http::Method;
use sixfold_api::client::{Client, ClientError};
use sixfold_api::problem::Kind;
use sixfold_api::resource::{Done, Farm, Node, Put};
use sixfold_core::trust::{Leaving, NodeStatement};

use super::Running;
use super::flow::{
    self, FARMER, NODES, TENANT, farm, joined, node, node_statement, put, refused, send, token,
};

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
