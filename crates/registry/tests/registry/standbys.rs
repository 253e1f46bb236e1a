//! An exit point has a device on each node that may hold its slot; and stores from before there were standbys.

use sixfold_core::id::{Generation, NodeId};
use sixfold_core::model::{FarmDraft, ResourceKey, Seat};
use sixfold_registry::service::{Failed, Op, Refusal, device_version};
use sixfold_registry::store::{Document, DocumentId, Group, Kind, Model, Sqlite, Store};

use crate::ground::{Hands, Registry, farm, network, put_farm, put_network, report, said};

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

/// Slot 1 is held by these, in this order.
fn held_by(holders: &[&str]) -> FarmDraft {
    let mut draft = farm(&[(1, 0), (2, 1)]);
    draft.slots[0].holders = holders.iter().map(|holder| node(holder)).collect();
    draft
}

/// The exit point of the one network.
fn exit(registry: &Registry) -> ResourceKey {
    registry.service.read(|state| {
        let mut grants = state.ledger().grants().iter();
        *grants.find(|(_, grant)| grant.seat == Seat::Exit).unwrap().0
    })
}

fn device(of: &str, resource: ResourceKey, version: u64, port: u16) -> Op {
    let said = said(version, &format!("device {of} {version} {port}"));
    Op::PutDevice { said, node: node(of), resource, generation: Generation(1), report: report(port) }
}

/// The ports of the exit point as a node sees it: where it is, and where it is ready.
fn seen(registry: &Registry, by: &str) -> (Option<u16>, Vec<Option<u16>>) {
    let snapshot = registry.service.read(|state| state.snapshot(&node(by))).unwrap();
    let exit = snapshot.networks[0].exit().unwrap();
    let port = |device: Option<&sixfold_core::model::DeviceReport>| device.map(|device| device.listen_port);
    let standbys = exit.standbys.iter().map(|standby| port(standby.device.as_ref())).collect();
    (port(exit.device.as_ref()), standbys)
}

#[test]
fn each_node_that_may_hold_a_slot_says_a_device_of_its_own_and_a_move_takes_none_away() {
    let registry = Registry::start(sixfold_registry::store::Memory::default(), &Hands::at(1)).furnish(4);
    registry.ask("alpha", "", put_farm(3, held_by(&["n0", "n3"]))).unwrap();
    registry.ask("acme", "", put_network(1, network("acme/web", 1, [2]))).unwrap();
    let exit = exit(&registry);
    assert_eq!(seen(&registry, "n2"), (None, vec![None]));
    registry.ask("n3", "", device("n3", exit, 1, 33)).unwrap();
    registry.ask("n0", "", device("n0", exit, 1, 30)).unwrap();
    assert_eq!(seen(&registry, "n2"), (Some(30), vec![Some(33)]));
    assert_eq!(seen(&registry, "n3"), (Some(30), vec![Some(33)]), "whoever stands by sees the same");
    let not_its_own = registry.ask("n1", "", device("n1", exit, 1, 31));
    assert!(matches!(not_its_own, Err(Failed::Refused(Refusal::NotSeated { .. }))), "{not_its_own:?}");
    registry.ask("alpha", "", put_farm(4, held_by(&["n3", "n0"]))).unwrap();
    assert_eq!(seen(&registry, "n2"), (Some(33), vec![Some(30)]));
    registry.ask("alpha", "", put_farm(5, held_by(&["n3"]))).unwrap();
    assert_eq!(seen(&registry, "n2"), (Some(33), vec![]));
}

/// Whoever stands by from now on, or no longer, hears of it, and so do those who have it as a peer.
#[test]
fn a_list_of_holders_that_changes_is_told_to_all_on_it_and_to_the_networks_that_leave_by_the_slot() {
    let registry = Registry::start(sixfold_registry::store::Memory::default(), &Hands::at(1)).furnish(5);
    registry.ask("acme", "", put_network(1, network("acme/web", 1, [2]))).unwrap();
    let told = |version: u64, holders: &[&str]| {
        let before = registry.service.read(|state| state.revision());
        registry.ask("alpha", "", put_farm(version, held_by(holders))).unwrap();
        let is_told =
            |at: &usize| registry.service.read(|state| state.revision_of(&node(&format!("n{at}")))) > before;
        (0..5).filter(is_told).collect::<Vec<_>>()
    };
    assert_eq!(told(3, &["n0", "n3"]), [0, 2, 3]);
    assert_eq!(told(4, &["n3", "n0"]), [0, 2, 3]);
    assert_eq!(told(5, &["n3", "n4"]), [0, 2, 3, 4]);
    assert_eq!(told(6, &["n3"]), [2, 3, 4]);
    let mut draft = held_by(&["n3", "n4"]);
    assert_eq!(told(7, &["n3", "n4"]), [2, 3, 4]);
    (draft.slots[0].public_v4, draft.slots[0].default_v4) =
        (Some("203.0.113.5/24".parse().unwrap()), Some("203.0.113.1".parse().unwrap()));
    let before = registry.service.read(|state| state.revision());
    registry.ask("alpha", "", put_farm(8, draft)).unwrap();
    let told = |name: &str| registry.service.read(|state| state.revision_of(&node(name))) > before;
    assert!(told("n3") && told("n4") && !told("n0"));
}

/// A device of an exit point was kept by the resource alone.
#[test]
fn what_a_holder_said_before_there_were_standbys_counts_until_it_says_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.db");
    let clock = Hands::at(1);
    let registry = Registry::open(&path, &clock).furnish(4);
    registry.ask("alpha", "", put_farm(3, held_by(&["n0", "n3"]))).unwrap();
    registry.ask("acme", "", put_network(1, network("acme/web", 1, [2]))).unwrap();
    let exit = exit(&registry);
    registry.end();
    let model = Model::Device { resource: exit, node: None, generation: Generation(1), report: report(30) };
    let old = DocumentId::device(exit, None);
    let document =
        Document { version: device_version(Generation(1), 1), body: b"its words"[..].into(), model };
    let mut group = Group::default();
    group.documents.insert(old.clone(), document);
    Sqlite::open(&path).unwrap().commit(&group).unwrap();

    let registry = Registry::open(&path, &clock);
    let said = |registry: &Registry| registry.service.read(|state| state.devices_of(exit));
    assert_eq!(seen(&registry, "n2"), (Some(30), vec![None]));
    assert_eq!(said(&registry), std::slice::from_ref(&old));
    registry.ask("n3", "", device("n3", exit, 1, 33)).unwrap();
    assert_eq!(seen(&registry, "n2"), (Some(30), vec![Some(33)]));
    let by = |name: &str| DocumentId::device(exit, Some(&node(name)));
    assert_eq!(said(&registry), [by("n3"), old.clone()]);
    registry.ask("n0", "", device("n0", exit, 2, 40)).unwrap();
    assert_eq!(said(&registry), [by("n0"), by("n3")]);
    registry.end();

    let registry = Registry::open(&path, &clock);
    assert_eq!(seen(&registry, "n2"), (Some(40), vec![Some(33)]), "a start anew knows the same");
    assert_eq!(said(&registry), [by("n0"), by("n3")]);
    let kept = registry.service.read(|state| state.documents_of(Kind::Device).count());
    assert_eq!(kept, 3, "no document is taken away");
}
