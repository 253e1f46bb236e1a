//! Two writers on one store, as a replicated one would have them: what each computes from what it knew is not written if that
//! is no longer so. It is computed again from what is there, and comes to what one writer would have said.

use std::sync::{Arc, Mutex};

use sixfold_api::event::Event;
use sixfold_core::id::Revision;
use sixfold_core::model::{FarmDraft, NodeDraft, Reach};
use sixfold_core::tenure::Ask;
use sixfold_core::trust::SigningKey;
use sixfold_registry::fsck::fsck_sealed;
use sixfold_registry::seal::Signing;
use sixfold_registry::service::{Op, Request, SlotFacts};
use sixfold_registry::store::{
    Answer, AnswerKey, Compared, Group, Kind, Memory, Record, Sqlite, Store, StoreError, Told,
};

use crate::ground::{Hands, Registry, farm, network, node, put_farm, put_network, request, said, slot};

/// One store that several have, and what each commit compared.
struct Shared<S>(Arc<Mutex<(S, Vec<Compared>)>>);

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> Shared<S> {
    fn of(store: S) -> Self {
        Self(Arc::new(Mutex::new((store, Vec::new()))))
    }

    fn compared(&self) -> Vec<Compared> {
        self.0.lock().unwrap().1.clone()
    }
}

impl<S: Store> Store for Shared<S> {
    fn read(&self, since: Revision, each: &mut dyn FnMut(Record, Revision)) -> Result<Revision, StoreError> {
        self.0.lock().unwrap().0.read(since, each)
    }

    fn answer(&self, key: &AnswerKey) -> Result<Option<(Answer, Revision)>, StoreError> {
        self.0.lock().unwrap().0.answer(key)
    }

    fn commit(&mut self, group: &Group) -> Result<Revision, StoreError> {
        let mut shared = self.0.lock().unwrap();
        shared.1 = group.compares.keys().cloned().collect();
        // What happened is numbered by one writer only: docs/adr/0029.
        shared.0.commit(&Group { told: Told::default(), ..group.clone() })
    }

    fn keep(&mut self, _: &Told) -> Result<(), StoreError> {
        Ok(())
    }

    fn told(&self) -> Result<Vec<Event>, StoreError> {
        Ok(Vec::new())
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        self.0.lock().unwrap().0.bytes()
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        self.0.lock().unwrap().0.probe()
    }
}

/// What the second writer says to something, after the first did something that it has not heard of.
fn told_after(first: Request, second: Request) -> String {
    let (store, clock) = (Shared::of(Memory::default()), Hands::at(1_000_000));
    let one = Registry::start(store.clone(), &clock).furnish(4);
    let other = Registry::start(store.clone(), &clock);
    one.service.ask(first).unwrap();
    match other.service.ask(second) {
        Ok(done) => format!("done at {}", done.revision),
        Err(failed) => failed.to_string(),
    }
}

fn joins(at: usize, address_of: usize, farm: &str) -> Request {
    let node = NodeDraft { reach: node(address_of).reach, ..node(at) };
    let token = Some(format!("{farm}-{at}"));
    let op = Op::PutNode { said: said(1, "joins"), farm: farm.parse().unwrap(), node, token };
    request(&format!("n{at}"), "", op)
}

fn other_farm(next_hop: &str, allocation: &str) -> Request {
    let mut draft = FarmDraft { id: "beta".parse().unwrap(), ..farm(&[]) };
    draft.upstream.next_hop = next_hop.parse().unwrap();
    draft.allocations = vec![allocation.parse().unwrap()];
    request("beta", "", put_farm(1, draft))
}

fn leaves(at: usize) -> Request {
    let op = Op::RemoveNode { said: said(2, "gone"), node: format!("n{at}").parse().unwrap(), forced: false };
    request("alpha", "", op)
}

fn asks(at: usize) -> Request {
    request("acme", "", put_network(1, network("acme/web", 2, [at])))
}

#[test]
fn what_farms_and_nodes_are_compared_with_is_there_still_when_they_are_written() {
    let without_slot_2 = || request("alpha", "", put_farm(3, farm(&[(1, 0)])));
    let hidden = || {
        let reach = Reach::Hidden { families: [sixfold_core::model::Family::Ipv4].into() };
        let node = NodeDraft { reach, ..node(3) };
        let op = Op::PutNode { said: said(2, "moved"), farm: "alpha".parse().unwrap(), node, token: None };
        request("n3", "", op)
    };
    let moved = |at: usize, to: usize| {
        let node = NodeDraft { reach: node(to).reach, ..node(at) };
        let op = Op::PutNode { said: said(2, "moved"), farm: "alpha".parse().unwrap(), node, token: None };
        request(&format!("n{at}"), "", op)
    };
    let held = |number: u8| {
        let (farm, ask, facts) = ("alpha".parse().unwrap(), Ask::Settle, SlotFacts::new());
        request("registry", "", Op::Hold { farm, slot: slot(number), ask, facts })
    };
    let taken = "address 2001:db8:ffff::18 is already that of";
    let table = [
        (joins(7, 8, "alpha"), joins(9, 8, "alpha"), format!("{taken} node n7 of farm alpha")),
        (moved(3, 8), moved(2, 8), format!("{taken} node n3 of farm alpha")),
        (
            other_farm("2001:db8:ffff::18", "2001:db8:b::/48"),
            joins(9, 8, "alpha"),
            format!("{taken} the upstream router of farm beta"),
        ),
        (
            request(
                "alpha",
                "",
                put_farm(
                    3,
                    FarmDraft {
                        allocations: vec!["2001:db8:a::/47".parse().unwrap()],
                        ..farm(&[(1, 0), (2, 1)])
                    },
                ),
            ),
            other_farm("fe80::1", "2001:db8:b::/48"),
            "allocation 2001:db8:b::/48 overlaps 2001:db8:a::/47 of farm alpha".to_owned(),
        ),
        (asks(3), without_slot_2(), "slot 2001:db8:a::/48#2 is the exit of network acme/web".to_owned()),
        (without_slot_2(), asks(3), "farm alpha has no slot 2".to_owned()),
        (asks(3), leaves(3), "node n3 is taken away and network acme/web has a resource on it".to_owned()),
        (leaves(3), asks(3), "node n3 is in no farm".to_owned()),
        (
            hidden(),
            request("alpha", "", put_farm(3, farm(&[(1, 0), (2, 3)]))),
            "holder n3 is a hidden node".to_owned(),
        ),
        // No epoch is given twice, and none to a slot that is no more.
        (held(2), held(2), "exit slot 2001:db8:a::/48#2: n1 is not there".to_owned()),
        (without_slot_2(), held(2), "farm alpha has no exit slot 2001:db8:a::/48#2".to_owned()),
    ];
    for (first, second, words) in table {
        let (one, other) = (first.op.clone(), second.op.clone());
        let told = told_after(first, second);
        assert!(told.starts_with(&words), "{told}, and not {words}: {other:?} after {one:?}");
    }
}

/// Tenants do not collide with each other, nor with what farmers do elsewhere.
#[test]
fn what_a_tenant_asks_is_compared_with_no_more_than_it_names() {
    let (store, clock) = (Shared::of(Memory::default()), Hands::at(1_000_000));
    let registry = Registry::start(store.clone(), &clock).furnish(4);
    registry.service.ask(asks(3)).unwrap();
    let compared = store.compared();
    assert!(
        !compared.iter().any(|key| matches!(key, Compared::Kind(_) | Compared::Allocations)),
        "{compared:?}"
    );
    let of_tenant = |key: &&Compared| matches!(key, Compared::Tenant(_));
    let tenants: Vec<_> = compared.iter().filter(of_tenant).collect();
    assert_eq!(tenants, [&Compared::Tenant("acme".parse().unwrap())]);
    let kinds = |op: Request| {
        registry.service.ask(op).unwrap();
        let compared = store.compared();
        let kind = |key: &Compared| if let Compared::Kind(kind) = key { Some(*kind) } else { None };
        compared.iter().filter_map(kind).collect::<Vec<_>>()
    };
    // Who comes is in no network yet; what comes to a farm neither.
    assert_eq!(kinds(joins(7, 8, "alpha")), [Kind::Farm, Kind::Node]);
    assert_eq!(kinds(other_farm("fe80::1", "2001:db8:b::/48")), [Kind::Farm, Kind::Node]);
    let more = put_farm(3, farm(&[(1, 0), (2, 1), (3, 2)]));
    assert_eq!(kinds(request("alpha", "", more)), [Kind::Farm, Kind::Node]);
    // What goes or moves may be a network's.
    let fewer = put_farm(4, farm(&[(1, 0), (2, 1)]));
    assert_eq!(kinds(request("alpha", "", fewer)), [Kind::Farm, Kind::Network, Kind::Node]);
    assert_eq!(kinds(leaves(7)), [Kind::Farm, Kind::Network, Kind::Node]);
}

/// What a tenant may have is counted over all of its networks, in whatever slots and by whichever writer.
#[test]
fn no_two_writers_give_a_tenant_more_than_its_quota() {
    let (store, clock) = (Shared::of(Memory::default()), Hands::at(1_000_000));
    let one = Registry::with_quota(store.clone(), &clock, 5).furnish(4);
    let other = Registry::with_quota(store, &clock, 5);
    one.ask("acme", "", put_network(1, network("acme/web", 1, [1, 2]))).unwrap();
    let failed = other.ask("acme", "", put_network(1, network("acme/lab", 2, [2, 3]))).unwrap_err();
    assert_eq!(failed.to_string(), "tenant acme has 3 prefixes and asks for 3 more: its quota is 5");
}

/// What another writer committed meanwhile, and changes nothing of what was read, is no conflict: the commit is one later than was
/// expected when it was signed, and is answered, kept and told as what it is.
#[test]
fn a_commit_after_anothers_is_sealed_answered_and_told_as_it_is() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Hands::at(1_000_000));
    let path = dir.path().join("registry.db");
    let store = Shared::of(Sqlite::open(&path).unwrap());
    let sealed = |store: &Shared<Sqlite>| {
        let sealer = Signing { key: SigningKey::from_seed(&[7; 32]), operator: None };
        Registry::sealed(store.clone(), &clock, Some(Box::new(sealer)))
    };
    let one = sealed(&store).furnish(4);
    let other = sealed(&store);
    let [told_of_one, told_of_other] =
        [2, 3].map(|at| other.service.watch(&format!("n{at}").parse().unwrap()));
    let first = one.ask("acme", "", put_network(1, network("acme/web", 1, [2]))).unwrap();
    let op = || put_network(1, network("globex/lab", 2, [3]));
    let second = other.ask("globex", "key", op()).unwrap();
    assert_eq!(second.revision, first.revision.next());
    assert_eq!(other.ask("globex", "key", op()).unwrap(), second, "the same key, the same answer");
    assert_eq!(other.service.read(|state| state.revision()), second.revision);
    // Whoever waits at this writer hears of both.
    assert_eq!([*told_of_one.borrow(), *told_of_other.borrow()], [second.revision; 2]);
    let proven = other.service.read(|state| {
        second.grants.iter().all(|held| state.proof_of(held.resource).unwrap().seal == second.revision)
    });
    assert!(proven);
    one.end();
    other.end();
    assert_eq!(fsck_sealed(&Sqlite::open_to_read(&path).unwrap()).unwrap().findings, []);
}
