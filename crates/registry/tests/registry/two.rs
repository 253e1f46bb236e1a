//! Two writers on one store, as a replicated one would have them: what each computes from what it knew is not written if that
//! is no longer so. It is computed again from what is there, and comes to what one writer would have said.

use std::sync::{Arc, Mutex};

use sixfold_api::event::Event;
use sixfold_core::id::Revision;
use sixfold_core::model::{FarmDraft, NodeDraft, Reach};
use sixfold_registry::service::{Op, Request};
use sixfold_registry::store::{
    Answer, AnswerKey, Compared, Group, Kind, Memory, Record, Store, StoreError, Told,
};

use crate::ground::{Hands, Registry, farm, network, node, put_farm, put_network, request, said};

/// One store that several have, and what each commit compared.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<(Memory, Vec<Compared>)>>);

impl Store for Shared {
    fn read(&self, since: Revision, each: &mut dyn FnMut(Record, Revision)) -> Result<Revision, StoreError> {
        self.0.lock().unwrap().0.read(since, each)
    }

    fn answer(&self, key: &AnswerKey) -> Result<Option<(Answer, Revision)>, StoreError> {
        self.0.lock().unwrap().0.answer(key)
    }

    fn commit(&mut self, group: &Group) -> Result<Revision, StoreError> {
        let mut shared = self.0.lock().unwrap();
        shared.1 = group.compares.keys().cloned().collect();
        shared.0.commit(group)
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
    let (store, clock) = (Shared::default(), Hands::at(1_000_000));
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
    let (store, clock) = (Shared::default(), Hands::at(1_000_000));
    let registry = Registry::start(store.clone(), &clock).furnish(4);
    registry.service.ask(asks(3)).unwrap();
    let compared = store.0.lock().unwrap().1.clone();
    assert!(
        !compared.iter().any(|key| matches!(key, Compared::Kind(_) | Compared::Allocations)),
        "{compared:?}"
    );
    registry.service.ask(joins(7, 8, "alpha")).unwrap();
    let compared = store.0.lock().unwrap().1.clone();
    for kind in [Kind::Farm, Kind::Node, Kind::Network] {
        assert!(compared.contains(&Compared::Kind(kind)), "{compared:?}");
    }
}
