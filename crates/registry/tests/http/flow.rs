//! What owners say, by the real routes, until a node believes it: farm, token, nodes, network, devices, feed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use axum::http::Method;
use sixfold_api::client::{Client, ClientError, News};
use sixfold_api::problem::Kind;
use sixfold_api::resource::{Done, Farm, Farms, Guests, Heard, Network, Networks, Node, Preview, Put};
use sixfold_core::id::Label;
use sixfold_core::key::PublicKey;
use sixfold_core::model::{DeviceReport, Seat, Snapshot, Status};
use sixfold_core::trust::{
    DeviceOf, DeviceStatement, Evidence, NetworkStatement, NodeStatement, Pins, Proofs, Role, Seen, Signed,
    Statement, Subject, Verdict, admit,
};

use super::{REGISTRY, Running, signing};

pub(super) use super::statements::{
    FARMER, NODES, TENANT, delegation, farm, later, live, network, node, node_statement, status, token,
};

fn label(text: &str) -> Label {
    text.parse().unwrap()
}

pub(super) fn put<T: Statement>(statement: &T, seed: u8) -> Put {
    Put { statement: Signed::new(statement, &signing(seed)), confirmation: None, token: None }
}

pub(super) async fn send(client: &mut Client, path: &str, put: &Put) -> Result<Done, ClientError> {
    client.send(Method::PUT, path, put, None).await
}

#[track_caller]
pub(super) fn refused<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> Kind {
    match answer {
        Err(ClientError::Refused(problem)) => problem.kind,
        other => panic!("not refused: {other:?}"),
    }
}

/// A farm without slots and nodes.
pub(super) async fn found(running: &Running) -> Client {
    let mut farmer = running.client(Some(FARMER));
    send(&mut farmer, &format!("/v1/farms/{}", farm()), &put(&delegation(1, false), FARMER)).await.unwrap();
    farmer
}

/// A farm with two nodes.
pub(super) async fn joined(running: &Running) -> [Client; 3] {
    let mut farmer = found(running).await;
    let mut nodes = NODES.map(|seed| running.client(Some(seed)));
    for (client, seed) in nodes.iter_mut().zip(NODES) {
        let put = Put { token: Some(token(seed, FARMER)), ..put(&node_statement(seed), seed) };
        send(client, &format!("/v1/nodes/{}", node(seed)), &put).await.unwrap();
    }
    send(&mut farmer, &format!("/v1/farms/{}", farm()), &put(&delegation(2, true), FARMER)).await.unwrap();
    let [one, two] = nodes;
    [farmer, one, two]
}

pub(super) async fn news(client: &mut Client, seed: u8, tag: Option<&str>, wait: u64) -> News<Proofs> {
    let path = format!("/v1/nodes/{}/snapshot", node(seed));
    client.news(&path, tag, Duration::from_secs(wait)).await.unwrap()
}

/// What the node believes of what it is told; nothing it is told is refused.
pub(super) fn believed(proofs: &Proofs, seed: u8) -> Snapshot {
    let pins = Pins { registry: signing(REGISTRY).verifying(), farm: farm() };
    let admitted = admit(proofs, &pins, &Seen::default(), &node(seed));
    assert_eq!(admitted.refusals, []);
    admitted.snapshot.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_owners_said_reaches_the_nodes_and_is_believed() {
    let running = Running::registry();
    let [mut farmer, mut holder, mut other] = joined(&running).await;
    let News::Changed { value, tag } = news(&mut other, NODES[1], None, 0).await else { panic!("nothing") };
    assert!(believed(&value, NODES[1]).networks.is_empty());

    // A poll waits, and is answered when the tenant speaks.
    let polling = tokio::spawn(async move {
        let asked = Instant::now();
        let told = news(&mut other, NODES[1], tag.as_deref(), 20).await;
        (other, told, asked.elapsed())
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut tenant = running.client(Some(TENANT));
    let path = format!("/v1/networks/{}", network());
    let done = send(&mut tenant, &path, &put(&live(1, &NODES), TENANT)).await.unwrap();
    assert_eq!(done.grants.len(), 3, "two nodes and the exit");
    let (mut other, told, waited) = polling.await.unwrap();
    println!("the feed told of a change {waited:?} after it was asked");
    let News::Changed { value, tag } = told else { panic!("nothing") };
    let snapshot = believed(&value, NODES[1]);
    assert_eq!(snapshot.revision, done.revision);
    assert_eq!(snapshot.networks[0].resources.len(), 3);
    assert_eq!(news(&mut other, NODES[1], tag.as_deref(), 0).await, News::Same);

    // The other's device is told to the holder.
    let grant = done.grants.iter().find(|held| held.seat == Seat::Node(node(NODES[1]))).unwrap();
    let of = DeviceOf {
        node: node(NODES[1]),
        key: grant.resource,
        generation: grant.generation,
        network: network(),
    };
    let endpoints = vec!["[2001:db8:f::3]:5000".parse().unwrap()];
    let report = DeviceReport { public_key: PublicKey::from_bytes([7; 32]), listen_port: 5000, endpoints };
    let device = DeviceStatement::new(of, 1, report.clone()).unwrap();
    let devices = format!("/v1/nodes/{}/devices", node(NODES[1]));
    send(&mut other, &devices, &put(&device, NODES[1])).await.unwrap();
    let News::Changed { value, .. } = news(&mut holder, NODES[0], None, 0).await else { panic!("nothing") };
    let snapshot = believed(&value, NODES[0]);
    let seen = snapshot.networks[0].resources.iter().find(|resource| resource.index == grant.resource.index);
    assert_eq!(seen.unwrap().device.as_ref(), Some(&report));
    assert_eq!(snapshot.gateways.len(), 1);

    let known: Network = tenant.get(&path).await.unwrap();
    assert_eq!((known.version, known.deleted, known.grants.len()), (1, false, 3));
    // The tenant is shown what the nodes believed: all agree but that one of them has not said its device.
    let proofs: Proofs = tenant.get(&format!("{path}/proofs")).await.unwrap();
    let registry = signing(REGISTRY).verifying().owner(Role::Registry);
    let (evidence, _) = Evidence::open(&proofs, &registry, &Seen::default());
    assert_eq!(evidence.refusals(), []);
    let verdicts = evidence.verdicts(&network());
    let stands = |verdict: &Verdict| Some(verdict.standing.as_ref().ok()?.device.is_ok());
    assert_eq!(verdicts.iter().filter(|verdict| stands(verdict) == Some(true)).count(), 1);
    assert_eq!(verdicts.iter().filter(|verdict| stands(verdict) == Some(false)).count(), 2);
    let stranger: Result<Proofs, _> = running.client(Some(9)).get(&format!("{path}/proofs")).await;
    assert_eq!(refused(stranger), Kind::Forbidden);
    // The farmer is told who leaves by the farm's slots.
    let guests = format!("/v1/farms/{}/networks", farm());
    let told: Guests = farmer.get(&guests).await.unwrap();
    assert_eq!(told.networks.len(), 1);
    assert_eq!((&told.networks[0].id, &told.networks[0].grants), (&network(), &known.grants));
    assert_eq!(told.networks[0].slot.to_string(), "2001:db8:a::/48#1");
    let gone = NetworkStatement { version: 2, subject: Subject::Deleted(network()) };
    send(&mut tenant, &path, &put(&gone, TENANT)).await.unwrap();
    assert_eq!(farmer.get::<Guests>(&guests).await.unwrap().networks, []);
    let known: Network = tenant.get(&path).await.unwrap();
    assert_eq!((known.version, known.deleted, known.grants.len()), (2, true, 0));
    let proofs: Proofs = tenant.get(&format!("{path}/proofs")).await.unwrap();
    assert_eq!((proofs.networks.len(), proofs.grants.len(), proofs.nodes.len()), (1, 0, 0));
    let list: Networks = tenant.get(&format!("/v1/networks/{}", network().tenant)).await.unwrap();
    assert_eq!(list.networks, [network()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_speaks_for_others_and_nobody_joins_twice_by_a_token() {
    let running = Running::registry();
    let [mut farmer, mut holder, mut other] = joined(&running).await;
    let mut tenant = running.client(Some(TENANT));
    let (farm_path, network_path) = (format!("/v1/farms/{}", farm()), format!("/v1/networks/{}", network()));
    let theirs = put(&live(1, &NODES), TENANT);
    assert_eq!(refused(send(&mut farmer, &network_path, &theirs).await), Kind::Forbidden);
    assert_eq!(refused(send(&mut running.client(None), &network_path, &theirs).await), Kind::Forbidden);
    // The right path, and somebody else's signature.
    assert_eq!(
        refused(send(&mut tenant, &network_path, &put(&live(1, &NODES), FARMER)).await),
        Kind::Refused
    );
    assert_eq!(
        refused(send(&mut farmer, &farm_path, &put(&delegation(1, true), FARMER)).await),
        Kind::Conflict
    );
    let snapshot = format!("/v1/nodes/{}/snapshot", node(NODES[0]));
    assert_eq!(refused(other.get::<Proofs>(&snapshot).await), Kind::Forbidden);
    assert!(holder.get::<Proofs>(&snapshot).await.is_ok());
    // What is read is what was said.
    let farms: Farms = tenant.get("/v1/farms").await.unwrap();
    assert_eq!((farms.farms.len(), farms.farms[0].name.as_str()), (1, "alpha"));
    let known: Farm = tenant.get(&farm_path).await.unwrap();
    assert_eq!((known.version, known.nodes.len(), known.allocations.len()), (2, 2, 1));
    let named: BTreeSet<Label> =
        known.nodes.iter().map(|said| said.open::<NodeStatement>().unwrap().name).collect();
    assert_eq!(named, BTreeSet::from(["n2", "n3"].map(label)), "each by its own word");
    // By a name or an id of theirs, or of a node of theirs; by any of several words; by others' none.
    let (id, of_node) = (farm(), node(NODES[0]));
    for (query, count) in [
        ("name=alpha".to_owned(), 1),
        (format!("name=beta,{id}"), 1),
        ("node=n3".to_owned(), 1),
        (format!("node={of_node}"), 1),
        ("name=beta&node=n3,n9".to_owned(), 1),
        ("name=beta".to_owned(), 0),
        ("name=beta&node=n9".to_owned(), 0),
    ] {
        let farms: Farms = tenant.get(&format!("/v1/farms?{query}")).await.unwrap();
        assert_eq!(farms.farms.len(), count, "{query}");
    }
    for bad in ["name=", "node=a,,b", "name=A", "name=%61"] {
        assert_eq!(refused(tenant.get::<Farms>(&format!("/v1/farms?{bad}")).await), Kind::Malformed, "{bad}");
    }
    let many: Vec<String> = (0..257).map(|at| format!("n{at}")).collect();
    let many = format!("/v1/farms?node={}", many.join(","));
    assert_eq!(refused(tenant.get::<Farms>(&many).await), Kind::Malformed);
    let known: Node = farmer.get(&format!("/v1/nodes/{}", node(NODES[0]))).await.unwrap();
    assert_eq!(known.statement, put(&node_statement(NODES[0]), NODES[0]).statement);
    // Tokens: used, of another signer, none.
    let (mut late, path) = (running.client(Some(9)), format!("/v1/nodes/{}", node(9)));
    let joins = |token| Put { token, ..put(&node_statement(9), 9) };
    assert_eq!(refused(send(&mut late, &path, &joins(Some(token(2, FARMER)))).await), Kind::Conflict);
    assert_eq!(refused(send(&mut late, &path, &joins(Some(token(8, TENANT)))).await), Kind::Refused);
    assert_eq!(refused(send(&mut late, &path, &joins(None)).await), Kind::Forbidden);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_gets_the_same_answer_and_another_request_does_not() {
    let running = Running::registry();
    joined(&running).await;
    let mut tenant = running.client(Some(TENANT));
    let path = format!("/v1/networks/{}", network());
    let asked = put(&live(1, &NODES), TENANT);
    let first: Done = tenant.send(Method::PUT, &path, &asked, Some("one")).await.unwrap();
    let again: Done = tenant.send(Method::PUT, &path, &asked, Some("one")).await.unwrap();
    assert_eq!(first, again);
    let other = put(&live(2, &NODES[..1]), TENANT);
    assert_eq!(refused(tenant.send::<Done>(Method::PUT, &path, &other, Some("one")).await), Kind::Conflict);
    let bad = tenant.send::<Done>(Method::PUT, &path, &other, Some("no blanks")).await;
    assert_eq!(refused(bad), Kind::Malformed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_kept_for_the_farmer_and_a_second_poll_ends_the_first() {
    let running = Running::registry();
    let [mut farmer, mut holder, _other] = joined(&running).await;
    let path = format!("/v1/nodes/{}/status", node(NODES[0]));
    assert_eq!(refused(farmer.get::<Heard>(&path).await), Kind::NotFound);
    let status = status(NODES[0], true);
    holder.send::<Done>(Method::PUT, &path, &status, None).await.unwrap();
    let heard: Heard = farmer.get(&path).await.unwrap();
    assert_eq!(heard.status, status);
    let wrong = Status { node: node(NODES[1]), ..status };
    assert_eq!(refused(holder.send::<Done>(Method::PUT, &path, &wrong, None).await), Kind::Refused);

    let News::Changed { tag, .. } = news(&mut holder, NODES[0], None, 0).await else { panic!("nothing") };
    let (first, asked) = (tag.clone(), Instant::now());
    let waiting = tokio::spawn(async move { news(&mut holder, NODES[0], first.as_deref(), 20).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut second = running.client(Some(NODES[0]));
    assert_eq!(news(&mut second, NODES[0], tag.as_deref(), 1).await, News::Same);
    assert_eq!(waiting.await.unwrap(), News::Same);
    assert!(asked.elapsed() < Duration::from_secs(15), "the first poll waited for its own end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_what_a_change_would_do_and_does_nothing() {
    let running = Running::registry();
    joined(&running).await;
    let mut tenant = running.client(Some(TENANT));
    let path = format!("/v1/networks/{}", network());
    let (dry, asked) = (format!("{path}?dry_run=true"), put(&live(1, &NODES), TENANT));
    let told: Preview = tenant.send(Method::PUT, &dry, &asked, None).await.unwrap();
    assert_eq!(refused(tenant.get::<Network>(&path).await), Kind::NotFound);
    assert_eq!((told.grants.len(), told.nodes.len(), told.untold), (3, 2, 0));
    assert_eq!(told.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["n3", "n2"]);
    assert!(
        told.nodes.iter().all(|node| node.steps.iter().any(|step| step.text.starts_with("ip netns add")))
    );
    assert!(told.confirmation_needed.is_none());
    let done = send(&mut tenant, &format!("{path}?dry_run=false"), &asked).await.unwrap();
    assert_eq!(done.grants, told.grants);
    assert_eq!(refused(send(&mut tenant, &format!("{path}?dry_run=1"), &asked).await), Kind::Malformed);
}
