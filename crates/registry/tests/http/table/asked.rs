//! Whose an object is, asked of the router itself: each route about the objects of one farmer, tenant and node, by their
//! owners and by strangers of every role. The whole of it is written out in `asked.txt`.
//!
//! What is sent is an empty document, so that whoever may ask is refused for what they sent, and nothing is done.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::http::Method;
use sixfold_api::client::{Client, ClientError};
use sixfold_api::event::Events;
use sixfold_api::problem::Kind;
use sixfold_api::resource::Put;
use sixfold_core::id::{FarmId, NetworkId, TenantId};
use sixfold_core::model::{ExitDraft, FarmDraft, NetworkDraft, SlotDraft};
use sixfold_core::trust::{Delegation, NetworkStatement, NodeStatement, Role, Signed, Subject, Token};
use sixfold_registry::http::{Route, table};

use crate::flow::{
    FARMER, NODES, TENANT, farm, joined, later, live, network, node, node_statement, put, send, token,
};
use crate::{ADMIN, REGISTRY, Running, signing};

/// A node of the first farm that no network is on.
const BESIDE: u8 = 5;
/// The farmer, the node and the tenant of another farm, and a network there.
const OTHERS: [u8; 3] = [0x31, 0x32, 0x34];
/// A key of whom nothing is known.
const STRANGER: u8 = 0x41;

/// Who asks: the first of each role owns what is asked of.
const ASKERS: [(&str, Option<u8>); 11] = [
    ("nobody", None),
    ("stranger", Some(STRANGER)),
    ("tenant", Some(TENANT)),
    ("another", Some(OTHERS[2])),
    ("farmer", Some(FARMER)),
    ("another", Some(OTHERS[0])),
    ("node", Some(NODES[1])),
    ("exit's", Some(NODES[0])),
    ("beside", Some(BESIDE)),
    ("another", Some(OTHERS[1])),
    ("admin", Some(ADMIN)),
];

/// What a route may be asked about, of the first of each role. A path with a parameter of which nothing is known here has
/// no objects: then this is the place to name one.
fn paths(route: &Route) -> Vec<String> {
    let id = |role: Role, seed: u8| signing(seed).verifying().id(role).to_string();
    let owners = [(Role::Tenant, TENANT), (Role::Farmer, FARMER), (Role::Node, NODES[1])];
    let known = [
        ("{farm}", farm().to_string()),
        ("{node}", node(NODES[1]).to_string()),
        ("{tenant}/{network}", network().to_string()),
        ("{tenant}", network().tenant.to_string()),
    ];
    let path = known.iter().fold(route.path.to_owned(), |path, (name, id)| path.replace(name, id));
    let paths = match path.contains("{role}/{id}") {
        true => {
            let named = |(role, seed): &(Role, u8)| format!("{role}/{}", id(*role, *seed));
            owners.iter().map(|owner| path.replace("{role}/{id}", &named(owner))).collect()
        }
        false => vec![path],
    };
    assert!(paths.iter().all(|path| !path.contains('{')), "{} has no objects here", route.path);
    paths
}

/// A farm with three nodes and a network on two of them, and another farm with a node and a network of another tenant's.
async fn furnished(running: &Running) {
    let [_, _, mut last] = joined(running).await;
    let join = |seed, token| Put { token: Some(token), ..put(&node_statement(seed), seed) };
    let mut beside = running.client(Some(BESIDE));
    let path = format!("/v1/nodes/{}", node(BESIDE));
    send(&mut beside, &path, &join(BESIDE, token(BESIDE, FARMER))).await.unwrap();
    let path = format!("/v1/networks/{}", network());
    send(&mut running.client(Some(TENANT)), &path, &put(&live(1, &NODES), TENANT)).await.unwrap();
    let status = crate::flow::status(NODES[1], true);
    let path = format!("/v1/nodes/{}/status", node(NODES[1]));
    last.send::<sixfold_api::resource::Done>(Method::PUT, &path, &status, None).await.unwrap();
    elsewhere(running).await;
}

async fn elsewhere(running: &Running) {
    let [farmer, machine, tenant] = OTHERS;
    let farm: FarmId = signing(farmer).verifying().id(Role::Farmer).into();
    let prefix = "2001:db8:b::/48".parse().unwrap();
    let slot = SlotDraft::new("2001:db8:b::/48#1".parse().unwrap(), vec![node(machine)]);
    let said = |version, slots| {
        let alpha = crate::flow::delegation(version, false).with_nodes(Vec::new());
        let draft = FarmDraft { id: farm.clone(), allocations: vec![prefix], slots, ..alpha };
        put(&Delegation::new(draft, "beta".parse().unwrap(), version).unwrap(), farmer)
    };
    let (mut client, path) = (running.client(Some(farmer)), format!("/v1/farms/{farm}"));
    send(&mut client, &path, &said(1, Vec::new())).await.unwrap();
    let registry_key = signing(REGISTRY).verifying();
    let registry = "[::1]:7443".to_owned();
    let token = Token { farm: farm.clone(), registry, registry_key, nonce: [9; 16], expires: later() };
    let token = Some(Token::write(&Signed::new(&token, &signing(farmer))));
    let join = put(&NodeStatement { farm: farm.clone(), ..node_statement(machine) }, machine);
    let path = format!("/v1/nodes/{}", node(machine));
    send(&mut running.client(Some(machine)), &path, &Put { token, ..join }).await.unwrap();
    send(&mut client, &format!("/v1/farms/{farm}"), &said(2, vec![slot])).await.unwrap();
    let own: TenantId = signing(tenant).verifying().id(Role::Tenant).into();
    let id = NetworkId { tenant: own, name: "web".parse().unwrap() };
    let exit = ExitDraft { farm, prefix: Some(prefix), slot: 1_i64.try_into().unwrap() };
    let nodes = vec![node(machine)];
    let draft = NetworkDraft {
        id: id.clone(),
        nodes,
        exit,
        workloads: Vec::new(),
        exposures: Vec::new(),
        own_v4: Default::default(),
        local_v4: false,
    };
    let statement = NetworkStatement { version: 1, subject: Subject::Live(draft.try_into().unwrap()) };
    let path = format!("/v1/networks/{id}");
    send(&mut running.client(Some(tenant)), &path, &put(&statement, tenant)).await.unwrap();
}

/// What one is told: `-` if they may not ask that.
async fn told(client: &mut Client, method: &Method, path: &str) -> &'static str {
    let answer = match *method {
        Method::GET => client.get::<serde_json::Value>(path).await,
        _ => client.send(method.clone(), path, &serde_json::json!({}), None).await,
    };
    match answer {
        Ok(_) => "yes",
        Err(ClientError::Refused(problem)) => match problem.kind {
            Kind::Forbidden => "-",
            Kind::Malformed => "may",
            Kind::NotFound => "none",
            kind => kind.title(),
        },
        Err(other) => panic!("{method} {path}: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_for_owners_and_strangers_as_the_table_says() {
    let running = Running::registry();
    furnished(&running).await;
    let mut clients: Vec<Client> = ASKERS.iter().map(|(_, seed)| running.client(*seed)).collect();
    let names = [
        (farm().to_string(), "FARM"),
        (node(NODES[1]).to_string(), "NODE"),
        (network().tenant.to_string(), "TENANT"),
    ];
    let mut text = format!("{:<44}", "asked");
    ASKERS.iter().for_each(|(name, _)| write!(text, "{name:<9}").unwrap());
    for route in table() {
        for path in paths(&route) {
            let plain = names.iter().fold(path.clone(), |path, (id, name)| path.replace(id, name));
            write!(text, "\n{:<44}", format!("{} {plain}", route.method)).unwrap();
            for client in &mut clients {
                write!(text, "{:<9}", told(client, &route.method, &path).await).unwrap();
            }
        }
    }
    let text: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    assert_eq!(text, include_str!("asked.txt"), "tests/http/table/asked.txt is what holds");
}

/// Of what happened, each hears what is about them: nobody hears of another's farm, node or network.
#[tokio::test(flavor = "multi_thread")]
async fn everybody_hears_of_their_own_and_the_operator_of_all() {
    let running = Running::registry();
    furnished(&running).await;
    let mut heard = BTreeMap::new();
    for (name, seed) in ASKERS {
        let Some(seed) = seed else { continue };
        let key = signing(seed).verifying();
        let events: Events = running.client(Some(seed)).get("/v1/events?after=0").await.unwrap();
        for event in &events.events {
            let own = |id: Option<String>, role| id == Some(key.id(role).to_string());
            let farm = own(event.what.farm.as_ref().map(ToString::to_string), Role::Farmer);
            let node = own(event.what.node.as_ref().map(ToString::to_string), Role::Node);
            let network = event.what.network.as_ref().map(|network| network.tenant.to_string());
            let is_theirs = farm || node || own(network, Role::Tenant) || name == "admin";
            assert!(is_theirs, "{name} heard {event:?}");
        }
        heard.insert(seed, events.events.len());
    }
    let count = |seeds: &[u8]| seeds.iter().map(|seed| heard[seed]).collect::<Vec<_>>();
    assert_eq!(count(&[STRANGER, TENANT, BESIDE, OTHERS[0]]), [0, 1, 1, 4]);
    assert!(heard[&ADMIN] >= heard[&FARMER] + heard[&OTHERS[0]], "{heard:?}");
}
