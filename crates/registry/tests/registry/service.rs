//! What requests come to: keys, versions, releases, breakers, feeds.

use sixfold_core::check::check;
use sixfold_core::id::{Generation, NodeId, Revision};
use sixfold_core::limit;
use sixfold_core::model::{Reach, ResourceKey, Seat};
use sixfold_registry::service::{Confirmation, Done, Failed, Newly, Op, Refusal, Sealed};
use sixfold_registry::store::{DocumentId, Group, Memory, Sqlite, Store, StoreError};

use crate::by::By;
use crate::ground::{
    Hands, Registry, farm, network, node, put_farm, put_network, put_node, remove_network, report, request,
    said,
};

fn alpha(nodes: usize) -> Registry {
    Registry::start(Memory::default(), &Hands::at(1_000_000)).furnish(nodes)
}

fn revision_of(registry: &Registry, node: &str) -> Revision {
    registry.service.read(|state| state.revision_of(&node.parse().unwrap()))
}

fn sound(registry: &Registry) {
    let wrong = registry.service.read(|state| check(state.world(), state.ledger()));
    assert_eq!(wrong, []);
}

/// The nodes whose snapshot is another one since.
fn changed(registry: &Registry, since: Revision) -> Vec<String> {
    registry.service.read(|state| {
        let all = state.world().nodes().map(|(_, node)| node.id().clone());
        all.filter(|node| state.revision_of(node) > since).map(|node| node.to_string()).collect()
    })
}

#[test]
fn a_network_gets_a_prefix_for_each_seat_and_a_start_anew_knows_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.db");
    let clock = Hands::at(1000);
    let registry = Registry::open(&path, &clock).furnish(3);
    let done = registry.ask("acme", "one", put_network(1, network("acme/web", 1, [1, 2]))).unwrap();
    assert_eq!(done.grants.len(), 3);
    assert!(
        done.grants
            .iter()
            .all(|held| held.generation == Generation(1) && held.resource.index.slot().get() == 1)
    );
    let seats: Vec<_> = done.grants.iter().map(|held| held.seat.clone()).collect();
    assert!(seats.contains(&Seat::Exit) && seats.contains(&Seat::Node("n2".parse().unwrap())));
    sound(&registry);
    let device = Op::PutDevice {
        said: said(1, "device"),
        node: "n2".parse().unwrap(),
        resource: done.grants.iter().find(|held| held.seat != Seat::Exit).unwrap().resource,
        generation: Generation(1),
        report: report(7),
    };
    let holder = done.grants.iter().find(|held| held.seat != Seat::Exit).unwrap().seat.clone();
    let Seat::Node(holder) = holder else { panic!("{holder:?}") };
    let Op::PutDevice { said, resource, generation, report, .. } = device else { unreachable!() };
    let device = Op::PutDevice { said, node: holder, resource, generation, report };
    registry.ask("n2", "", device).unwrap();
    let look = |registry: &Registry| {
        registry.service.read(|state| {
            let nodes: Vec<NodeId> = state.world().nodes().map(|(_, node)| node.id().clone()).collect();
            let snapshots: Vec<_> = nodes
                .iter()
                .map(|node| sixfold_core::model::Snapshot {
                    revision: Revision(0),
                    ..state.snapshot(node).unwrap()
                })
                .collect();
            (state.world().clone(), state.ledger().clone(), snapshots, state.revision())
        })
    };
    let before = look(&registry);
    registry.end();
    let registry = Registry::open(&path, &clock);
    let after = look(&registry);
    assert_eq!(after.0, before.0);
    assert_eq!(after.1.grants(), before.1.grants());
    assert_eq!(after.2, before.2);
    assert_eq!(after.3, before.3);
    assert!(revision_of(&registry, "n1") >= before.3, "no node is sent back");
    assert_eq!(registry.ask("acme", "one", put_network(1, network("acme/web", 1, [1, 2]))).unwrap(), done);
}

#[test]
fn one_key_is_one_request_and_one_answer() {
    let registry = alpha(3);
    let first = put_network(1, network("acme/web", 1, [1]));
    let done = registry.ask("acme", "k", first.clone()).unwrap();
    let later = registry.ask("acme", "l", put_network(2, network("acme/web", 1, [1, 2]))).unwrap();
    assert!(later.revision > done.revision);
    assert_eq!(registry.ask("acme", "k", first.clone()).unwrap(), done, "as it was answered then");
    assert_eq!(
        registry.refused("acme", "k", put_network(3, network("acme/web", 1, [2]))),
        "acme has used the key k for another request; give each request a key of its own"
    );
    registry.ask("globex", "k", put_network(1, network("globex/lab", 1, [1]))).unwrap();
    let none = registry.ask("acme", "m", put_network(2, network("acme/web", 1, [1, 2]))).unwrap();
    assert_eq!(none.grants, later.grants, "the same words again change nothing");
}

#[test]
fn an_answer_is_kept_for_a_day() {
    let clock = Hands::at(1_000_000);
    let registry = Registry::start(Memory::default(), &clock).furnish(2);
    let first = put_network(1, network("acme/web", 1, [1]));
    let done = registry.ask("acme", "k", first.clone()).unwrap();
    clock.turn(sixfold_registry::service::limit::ANSWER_SECS);
    registry.ask("globex", "k", put_network(1, network("globex/lab", 1, [1]))).unwrap();
    assert_eq!(registry.ask("acme", "k", first).unwrap(), done, "a day is not over before it is");
    clock.turn(1);
    registry.ask("globex", "l", put_network(2, network("globex/lab", 1, [0]))).unwrap();
    let other = registry.ask("acme", "k", put_network(2, network("acme/web", 1, [0, 1])));
    assert!(other.is_ok(), "the key is free again: {other:?}");
}

#[test]
fn versions_only_grow_and_each_says_one_thing() {
    let registry = alpha(3);
    registry.ask("acme", "", put_network(5, network("acme/web", 1, [1]))).unwrap();
    assert_eq!(
        registry.refused("acme", "", put_network(4, network("acme/web", 1, [1]))),
        "network acme/web is at version 5, and this is version 4; read what is known, and sign it as version 6"
    );
    assert_eq!(
        registry.refused("acme", "", put_network(5, network("acme/web", 1, [1, 2]))),
        "network acme/web is known at version 5 with other words; sign it as version 6"
    );
    assert_eq!(
        registry.refused("acme", "", put_network(0, network("acme/db", 1, [1]))),
        "0 is no version of network acme/db; versions are counted from 1"
    );
    registry.ask("acme", "", remove_network(6, "acme/web")).unwrap();
    assert!(
        registry.refused("acme", "", put_network(6, network("acme/web", 1, [1]))).contains("other words")
    );
    registry.ask("acme", "", put_network(7, network("acme/web", 1, [1]))).unwrap();
    sound(&registry);
}

#[test]
fn what_cannot_be_is_refused_with_its_reason_and_changes_nothing() {
    let registry = alpha(3);
    let before = registry.service.read(|state| state.revision());
    let refused = [
        put_network(1, network("acme/web", 1, [1, 9])),
        put_network(1, network("acme/web", 7, [1])),
        remove_network(1, "acme/none"),
        put_farm(3, farm(&[(1, 8)])),
        put_node(1, 0),
        Op::PutNode { said: said(1, "x"), farm: "alpha".parse().unwrap(), node: node(8), token: None },
        Op::PutNode {
            said: said(1, "x"),
            farm: "alpha".parse().unwrap(),
            node: node(8),
            token: Some("token-1".into()),
        },
        Op::PutNode { said: said(2, "x"), farm: "omega".parse().unwrap(), node: node(1), token: None },
        Op::RemoveNode { said: said(2, "gone"), node: "n0".parse().unwrap(), forced: false },
        Op::RemoveNode { said: said(2, "gone"), node: "n9".parse().unwrap(), forced: true },
        Op::PutDevice {
            said: said(1, "x"),
            node: "n1".parse().unwrap(),
            resource: ResourceKey { number: 1_u16.try_into().unwrap(), index: "1abc".parse().unwrap() },
            generation: Generation(1),
            report: report(7),
        },
    ];
    let words: Vec<String> = refused
        .into_iter()
        .map(|op| match registry.ask("someone", "", op) {
            Ok(done) => format!("done at {}, grants {}", done.revision, done.grants.len()),
            Err(failed) => format!("{failed}\n  {}", failed.hint()),
        })
        .collect();
    insta::assert_snapshot!(words.join("\n"));
    assert_eq!(registry.service.read(|state| state.revision()), before);
}

#[test]
fn a_quota_and_a_full_slot_are_told_and_others_go_on() {
    let registry = alpha(2);
    let many: Vec<String> = (0..limit::PREFIXES_PER_TENANT / 2)
        .filter_map(|at| {
            registry.ask("acme", "", put_network(1, network(&format!("acme/n{at}"), 1, [1]))).err()
        })
        .map(|failed| failed.to_string())
        .collect();
    assert_eq!(many, Vec::<String>::new());
    let over = registry.refused("acme", "", put_network(1, network("acme/more", 2, [1])));
    assert_eq!(
        over,
        "tenant acme has 4096 prefixes and asks for 2 more: its quota is 4096; delete what is not needed: released prefixes count for up to seven days"
    );
    let full = registry.refused("globex", "", put_network(1, network("globex/lab", 1, [1])));
    assert!(full.starts_with("exit slot 1 of 2001:db8:a::/48 is full: 4096 prefixes are in use; "), "{full}");
    registry.ask("globex", "", put_network(1, network("globex/lab", 2, [1]))).unwrap();
    sound(&registry);
}

#[test]
fn a_released_prefix_is_anothers_once_its_nodes_are_in_sync() {
    let registry = alpha(3);
    registry.ask("acme", "", put_network(1, network("acme/web", 1, [1, 2]))).unwrap();
    let gone = registry.ask("acme", "", remove_network(2, "acme/web")).unwrap();
    assert_eq!(gone.grants, []);
    let resting = || {
        registry.service.read(|state| {
            state
                .ledger()
                .grants()
                .values()
                .filter(|grant| grant.released.as_ref().is_some_and(|release| !release.holders.is_empty()))
                .count()
        })
    };
    assert_eq!(resting(), 3);
    for node in ["n0", "n1", "n2"] {
        let node: NodeId = node.parse().unwrap();
        assert!(registry.service.is_waited_for(&node));
        let early = Op::InSync { node: node.clone(), revision: Revision(gone.revision.0 - 1) };
        registry.ask(node.as_str(), "", early).unwrap();
        assert_eq!(resting(), 3, "it may not have seen the release");
        assert!(registry.service.read(|state| state.revision_of(&node)) >= gone.revision);
    }
    for node in ["n0", "n1", "n2"] {
        let node: NodeId = node.parse().unwrap();
        assert_eq!(resting(), 3, "others may have it still");
        registry.ask(node.as_str(), "", Op::InSync { node: node.clone(), revision: gone.revision }).unwrap();
    }
    assert_eq!(resting(), 0);
    for node in ["n0", "n1", "n2"] {
        assert!(!registry.service.is_waited_for(&node.parse().unwrap()));
    }
}

#[test]
fn a_device_is_its_own_nodes_of_the_grant_in_force() {
    let registry = alpha(3);
    let done = registry.ask("acme", "", put_network(1, network("acme/web", 1, [1, 2]))).unwrap();
    let held = done.grants.iter().find(|held| held.seat == Seat::Node("n2".parse().unwrap())).unwrap();
    let device = |node: &str, generation: u32, version: u64, port: u16| Op::PutDevice {
        said: said(version, &format!("device {version} {port}")),
        node: node.parse().unwrap(),
        resource: held.resource,
        generation: Generation(generation),
        report: report(port),
    };
    assert!(matches!(
        registry.ask("n1", "", device("n1", 1, 1, 7)),
        Err(Failed::Refused(Refusal::NotSeated { .. }))
    ));
    assert!(matches!(
        registry.ask("n2", "", device("n2", 2, 1, 7)),
        Err(Failed::Refused(Refusal::Generation { .. }))
    ));
    let before = registry.service.read(|state| state.revision());
    registry.ask("n2", "", device("n2", 1, 1, 7)).unwrap();
    assert_eq!(changed(&registry, before), ["n0", "n1", "n2"], "all of the network, and no other");
    let port = || {
        registry
            .service
            .read(|state| state.reported_on(held.resource).next().map(|(_, report)| report.listen_port))
    };
    assert_eq!(port(), Some(7));
    registry.ask("n2", "", device("n2", 1, 2, 8)).unwrap();
    assert!(registry.ask("n2", "", device("n2", 1, 1, 7)).is_err(), "an older word");
    assert_eq!(port(), Some(8));
    registry.ask("acme", "", remove_network(2, "acme/web")).unwrap();
    assert_eq!(port(), None);
    let again = registry.ask("acme", "", put_network(3, network("acme/web", 1, [1, 2]))).unwrap();
    let now = again.grants.iter().find(|it| it.resource == held.resource).unwrap();
    assert_eq!(now.generation, Generation(2));
    assert_eq!(port(), None, "the device of the first generation is not the second's");
    registry.ask("n2", "", device("n2", 2, 1, 9)).unwrap();
    assert_eq!(port(), Some(9), "and its versions are counted anew");
}

#[test]
fn only_those_who_see_a_change_are_told_of_it() {
    let registry = alpha(6);
    let at = |registry: &Registry| registry.service.read(|state| state.revision());
    registry.ask("acme", "", put_network(1, network("acme/web", 1, [2, 3]))).unwrap();
    registry.ask("globex", "", put_network(1, network("globex/lab", 2, [4]))).unwrap();
    let mut watched = registry.service.watch(&"n3".parse().unwrap());
    let mut idle = registry.service.watch(&"n5".parse().unwrap());
    watched.borrow_and_update();
    idle.borrow_and_update();
    let before = at(&registry);
    registry.ask("acme", "", put_network(2, network("acme/web", 1, [3]))).unwrap();
    registry.ask("acme", "", put_network(3, network("acme/web", 1, [2, 3]))).unwrap();
    assert_eq!(changed(&registry, before), ["n0", "n2", "n3"]);
    assert!(watched.has_changed().unwrap() && !idle.has_changed().unwrap());
    assert_eq!(*watched.borrow_and_update(), at(&registry), "the newest only");
    let before = at(&registry);
    registry.ask("alpha", "", put_farm(3, farm(&[(1, 5), (2, 1)]))).unwrap();
    assert_eq!(
        changed(&registry, before),
        ["n0", "n2", "n3", "n5"],
        "slot 1 moved: both holders and who peers with it"
    );
    let before = at(&registry);
    let mut moved = node(4);
    moved.reach = Reach::Public { address: Some("2001:db8:ffff::99/64".parse().unwrap()), address_v4: None };
    let op = Op::PutNode { said: said(2, "moved"), farm: "alpha".parse().unwrap(), node: moved, token: None };
    registry.ask("n4", "", op).unwrap();
    assert_eq!(changed(&registry, before), ["n1", "n4"], "its peers, by globex's exit");
    let before = at(&registry);
    let mut limits = farm(&[(1, 5), (2, 1)]);
    limits.management = vec!["192.0.2.0/24".parse().unwrap()];
    registry.ask("alpha", "", put_farm(4, limits)).unwrap();
    assert_eq!(changed(&registry, before).len(), 6);
}

#[test]
fn what_takes_much_away_needs_the_owners_word_for_exactly_that() {
    let registry = alpha(4);
    for at in 0..5 {
        registry.ask("acme", "", put_network(1, network(&format!("acme/n{at}"), 1, [2]))).unwrap();
    }
    let moved = put_farm(3, farm(&[(1, 3), (2, 1)]));
    let refused = registry.refused("alpha", "", moved.clone());
    assert_eq!(
        refused,
        "node n0 would lose 5 resources at once; if it is meant, confirm exactly this change and sign that"
    );
    let confirmed = |op: &Op, change: &Op, limit| sixfold_registry::service::Request {
        confirmed: Some(Confirmation { change: change.digest(), limit, body: b"yes".as_slice().into() }),
        ..request("alpha", "", op.clone())
    };
    let other = put_farm(3, farm(&[(1, 2), (2, 1)]));
    assert!(registry.service.ask(confirmed(&moved, &other, 5)).is_err(), "a word for something else");
    assert!(registry.service.ask(confirmed(&moved, &moved, 4)).is_err(), "a word for less");
    registry.service.ask(confirmed(&moved, &moved, 5)).unwrap();
    let kept = || {
        registry.service.read(|state| {
            let kept = state.documents_of(sixfold_registry::store::Kind::Confirm);
            kept.map(|(name, kept)| format!("{name} {}: {:?}", kept.version, kept.body)).collect::<Vec<_>>()
        })
    };
    assert_eq!(kept(), [format!("alpha 1: {:?}", b"yes")]);
    for at in 0..5 {
        registry.ask("acme", "", remove_network(2, &format!("acme/n{at}"))).unwrap();
    }
    let empty = put_farm(4, farm(&[]));
    assert!(registry.refused("alpha", "", empty.clone()).starts_with("farm alpha would be left empty"));
    registry.service.ask(confirmed(&empty, &empty, 0)).unwrap();
    assert_eq!(kept(), [format!("alpha 2: {:?}", b"yes")], "the last one of each owner");
}

#[test]
fn four_resources_of_a_node_may_go_without_a_word() {
    let registry = alpha(4);
    for at in 0..4 {
        registry.ask("acme", "", put_network(1, network(&format!("acme/n{at}"), 1, [2]))).unwrap();
    }
    registry.ask("alpha", "", put_farm(3, farm(&[(1, 3), (2, 1)]))).unwrap();
}

#[test]
fn a_group_is_sealed_once_and_each_part_knows_its_way_to_the_seal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.db");
    let clock = Hands::at(1);
    let sealer = |newly: &Newly<'_>| Sealed {
        seal: format!("group {}: {} + {}", newly.serial, newly.numbers.len(), newly.grants.len())
            .into_bytes()
            .into(),
        paths: newly
            .numbers
            .iter()
            .map(|it| format!("number {}", it.number()))
            .chain(newly.grants.iter().map(|(key, grant)| format!("{} {}", key.index, grant.generation)))
            .map(|text| text.into_bytes().into())
            .collect(),
    };
    let registry = Registry::sealed(Sqlite::open(&path).unwrap(), &clock, Some(Box::new(sealer))).furnish(2);
    let done: Done = registry.ask("acme", "", put_network(1, network("acme/web", 1, [1]))).unwrap();
    let look = |registry: &Registry, done: &Done| {
        registry.service.read(|state| {
            let held = done.grants.iter().map(|held| {
                let proof = state.proof_of(held.resource).unwrap();
                assert_eq!(
                    &proof.path[..],
                    format!("{} {}", held.resource.index, held.generation).as_bytes()
                );
                String::from_utf8(state.seal(proof.seal).unwrap().to_vec()).unwrap()
            });
            let allocation = state.ledger().allocations().next().unwrap();
            assert_eq!(&state.proof_of_number(&allocation).unwrap().path[..], b"number 1");
            held.collect::<Vec<_>>()
        })
    };
    assert_eq!(look(&registry, &done), vec![format!("group {}: 0 + 2", done.revision); 2]);
    registry.ask("acme", "", remove_network(2, "acme/web")).unwrap();
    let again = registry.ask("acme", "", put_network(3, network("acme/web", 1, [1]))).unwrap();
    assert_eq!(look(&registry, &again), vec![format!("group {}: 0 + 2", again.revision); 2]);
    registry.end();
    let registry = Registry::open(&path, &clock);
    assert_eq!(look(&registry, &again), vec![format!("group {}: 0 + 2", again.revision); 2]);
    let unknown = registry
        .service
        .read(|state| state.document(&DocumentId::network(&"a/b".parse().unwrap())).is_none());
    assert!(unknown);
}

#[test]
fn what_the_registry_signs_its_public_key_opens() {
    use sixfold_core::trust::{Leaf, Proven, Signed, SigningKey};
    let key = SigningKey::from_seed(&[7; 32]);
    let registered = key.verifying();
    let signer = Box::new(sixfold_registry::seal::Signing { key, operator: None });
    let registry = Registry::sealed(Memory::default(), &Hands::at(1), Some(signer)).furnish(3);
    let done = registry.ask("acme", "", put_network(1, network("acme/web", 1, [1, 2]))).unwrap();
    let leaves: Vec<Leaf> = registry.service.read(|state| {
        let held = done.grants.iter().map(|held| {
            let proof = state.proof_of(held.resource).unwrap();
            let seal: Signed = serde_json::from_slice(state.seal(proof.seal).unwrap()).unwrap();
            let proven: Proven = serde_json::from_slice(&proof.path).unwrap();
            assert_eq!(seal.key, registered);
            let group: sixfold_core::trust::Group = seal.open().unwrap();
            assert_eq!((group.size, group.serial), (3, done.revision.0));
            proven.open(&group).unwrap()
        });
        held.collect()
    });
    for (leaf, held) in leaves.iter().zip(&done.grants) {
        let Leaf::Grant(granted) = leaf else { panic!("{leaf:?}") };
        assert_eq!(
            (granted.key, &granted.seat, granted.generation),
            (held.resource, &held.seat, held.generation)
        );
        assert_eq!(granted.network.to_string(), "acme/web");
    }
}

/// A store whose disk breaks at the third commit: nobody knows what of it was written.
fn breaks() -> impl Store {
    let mut commits = 0;
    By::new(Memory::default(), move |store: &mut Memory, group: &Group| {
        commits += 1;
        match commits {
            3 => Err(StoreError::Io { source: Box::new(std::io::Error::other("the disk is gone")) }),
            _ => store.commit(group),
        }
    })
}

/// Whoever watches the process has it started anew.
#[test]
fn a_registry_that_does_not_know_what_it_wrote_is_seen_to_write_no_more() {
    let registry = Registry::start(breaks(), &Hands::at(1));
    let life = registry.service.life();
    registry.ask("farmer", "one", put_farm(1, farm(&[]))).unwrap();
    assert!(life.is_writing());
    assert!(matches!(registry.ask("farmer", "two", put_farm(2, farm(&[]))), Err(Failed::Unknown)));
    assert!(!life.is_writing());
    assert!(matches!(registry.ask("farmer", "two", put_farm(2, farm(&[]))), Err(Failed::Stopped)));
}
