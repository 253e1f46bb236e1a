//! A farmer takes a machine away: what its networks had there is released and nothing else, and it stays so when the
//! registry starts again, when the machine comes back, and in the eyes of fsck.

use sixfold_core::id::{NetworkId, NodeId};
use sixfold_core::model::Seat;
use sixfold_registry::fsck::fsck_unsigned;
use sixfold_registry::service::{Confirmation, Op, Request};
use sixfold_registry::store::Sqlite;

use super::ground::{Hands, Registry, network, node, put_network, put_node, request, said};

fn remove(version: u64, at: usize, limit: u64) -> Request {
    let node = format!("n{at}").parse().unwrap();
    let op = Op::RemoveNode { said: said(version, &format!("no n{at}")), node, forced: true };
    let confirmed = Some(Confirmation { change: op.digest(), limit, body: b"yes"[..].into() });
    Request { confirmed, ..request("alpha", "", op) }
}

fn seats(registry: &Registry, id: &str) -> Vec<String> {
    let id: NetworkId = id.parse().unwrap();
    let held = registry.service.read(|state| state.held_by(&id));
    let mut seats: Vec<String> = held
        .iter()
        .map(|held| match &held.seat {
            Seat::Exit => "exit".to_owned(),
            Seat::Node(node) => node.to_string(),
        })
        .collect();
    seats.sort();
    seats
}

/// The nodes that a network is on, of the world that snapshots are made of.
fn on(registry: &Registry, id: &str) -> Vec<NodeId> {
    let id: NetworkId = id.parse().unwrap();
    registry.service.read(|state| {
        let network = state.world().network(&id);
        network.map(|network| network.nodes().iter().cloned().collect()).unwrap_or_default()
    })
}

#[test]
fn what_networks_had_on_a_machine_is_released_and_nothing_else_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.db");
    let hands = Hands::at(1_700_000_000);
    let registry = Registry::open(&path, &hands).furnish(4);
    registry.ask("acme", "", put_network(1, network("acme/web", 1, [1, 2, 3]))).unwrap();
    registry.ask("acme", "", put_network(1, network("acme/lone", 2, [3]))).unwrap();
    registry.ask("acme", "", put_network(1, network("acme/other", 1, [0, 2]))).unwrap();

    let words = registry.service.ask(remove(2, 3, 0)).unwrap_err().to_string();
    assert!(words.contains("would lose 2 resources"), "{words}");
    registry.service.ask(remove(2, 3, 2)).unwrap();
    let is_so = |registry: &Registry| {
        assert_eq!(seats(registry, "acme/web"), ["exit", "n1", "n2"]);
        assert_eq!(seats(registry, "acme/lone"), <[&str; 0]>::default());
        assert_eq!(seats(registry, "acme/other"), ["exit", "n0", "n2"]);
        assert_eq!(on(registry, "acme/web"), ["n1".parse().unwrap(), "n2".parse().unwrap()]);
        assert_eq!(on(registry, "acme/lone"), []);
    };
    is_so(&registry);
    // Its prefixes rest: it cannot say any more that they are gone from it.
    let waiting = registry.service.read(|state| {
        let released = state.ledger().grants().values().filter_map(|grant| grant.released.as_ref());
        released.filter(|release| release.holders.contains(&"n3".parse().unwrap())).count()
    });
    assert_eq!(waiting, 3, "two of the node, and the exit point of the network that had no other");
    registry.end();
    let clean = || assert_eq!(fsck_unsigned(&Sqlite::open_to_read(&path).unwrap()).unwrap().findings, []);
    clean();

    let registry = Registry::open(&path, &hands);
    is_so(&registry);
    // It is there again, and nothing of these networks with it until their tenant says so.
    let back = Op::PutNode {
        said: said(3, "back"),
        farm: "alpha".parse().unwrap(),
        node: node(3),
        token: Some("token-again".to_owned()),
    };
    registry.ask("n3", "", back).unwrap();
    is_so(&registry);
    registry.end();
    clean();
    let registry = Registry::open(&path, &hands);
    is_so(&registry);
    registry.ask("acme", "", put_network(2, network("acme/lone", 2, [3]))).unwrap();
    assert_eq!(seats(&registry, "acme/lone"), ["exit", "n3"]);
    registry.ask("acme", "", put_network(2, network("acme/web", 1, [1, 3]))).unwrap();
    assert_eq!(seats(&registry, "acme/web"), ["exit", "n1", "n3"]);
    // A slot's holder is its farm's to change first.
    let words = registry.service.ask(remove(2, 0, 9)).unwrap_err().to_string();
    assert!(words.contains("holder n0"), "{words}");
    let others = ["n0".parse().unwrap(), "n2".parse().unwrap()];
    assert_eq!(on(&registry, "acme/other"), others, "what was tried on is taken off");
    registry.ask("n0", "", put_node(2, 0)).unwrap();
    registry.end();
    clean();
}
