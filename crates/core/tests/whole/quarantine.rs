//! What is released rests: until every node that had it says it is gone, seven days at most, and counts until then.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use sixfold_core::allocate::{AllocateError, Terms, allocate, number, number_all};
use sixfold_core::id::{NodeId, Revision, Timestamp};
use sixfold_core::limit;
use sixfold_core::model::{Grant, Heard, Ledger, LedgerChange, ReadSet, ResourceKey, Seat, SlotKey};
use sixfold_core::place::Placement;

use crate::farm::SECRET;

fn nodes(of: impl IntoIterator<Item = usize>) -> BTreeSet<NodeId> {
    of.into_iter().map(|at| format!("n{at}").parse().unwrap()).collect()
}

/// A network on these nodes and, unless there are none, an exit point, which sits on n0.
fn placement(network: &str, of: impl IntoIterator<Item = usize>) -> Placement {
    let mut seats: BTreeSet<Seat> = nodes(of).into_iter().map(Seat::Node).collect();
    if !seats.is_empty() {
        seats.insert(Seat::Exit);
    }
    let slot = SlotKey { prefix: "2001:db8:a::/48".parse().unwrap(), slot: 1_u8.try_into().unwrap() };
    Placement {
        network: network.parse().unwrap(),
        slot,
        exit_node: "n0".parse().unwrap(),
        seats,
        pool_v4: Vec::new(),
        ports: limit::PORTS_PER_NETWORK,
        block_quota: 15,
        pool_quota: 1,
    }
}

fn numbered() -> Ledger {
    let mut ledger = Ledger::default();
    let (read, change) = number(&ledger, placement("acme/web", []).slot.prefix);
    ledger.commit(&read, change).unwrap();
    ledger
}

fn at(now: u64) -> Terms {
    Terms { now: Timestamp(now), ..Terms::default() }
}

fn grant(ledger: &mut Ledger, placement: &Placement, terms: &Terms) -> Revision {
    let (read, change) = allocate(ledger, placement, &SECRET, terms).unwrap();
    ledger.commit(&read, change).unwrap()
}

fn report((ledger, heard): (&mut Ledger, &mut Heard), node: &str, in_sync_at: Revision) {
    let node: NodeId = node.parse().unwrap();
    heard.insert(node.clone(), in_sync_at);
    let (read, change) = ledger.rested(&node, heard);
    ledger.commit(&read, change).unwrap();
}

fn released(ledger: &Ledger) -> Vec<&Grant> {
    ledger.grants().values().filter(|grant| !grant.is_live()).collect()
}

#[test]
fn a_release_waits_for_every_node_that_may_have_had_it() {
    let (mut ledger, mut heard) = (numbered(), Heard::new());
    grant(&mut ledger, &placement("acme/web", [1, 2, 3]), &at(1));
    let before = ledger.revision();
    let terms = Terms { holders: nodes([7]), ..at(2) };
    let revision = grant(&mut ledger, &placement("acme/web", [1, 2]), &terms);
    let [grant] = released(&ledger)[..] else { panic!("one was released") };
    let release = grant.released.clone().unwrap();
    assert_eq!((release.at, release.revision), (Timestamp(2), revision));
    assert_eq!(release.holders, nodes([0, 1, 2, 3, 7]), "its seats, the exit's holder and the one before");
    report((&mut ledger, &mut heard), "n3", before);
    assert!(
        released(&ledger)[0]
            .released
            .as_ref()
            .unwrap()
            .holders
            .contains("n3".parse::<NodeId>().as_ref().unwrap()),
        "n3 was in sync before the release"
    );
    let waits = ledger.clone();
    for node in ["n0", "n1", "n2", "n7", "n9"] {
        report((&mut ledger, &mut heard), node, revision.next());
        assert!(!released(&ledger)[0].is_over(Timestamp(3)), "n3 still has it");
    }
    assert_eq!(ledger, waits, "nothing is written before the last one has said so");
    report((&mut ledger, &mut heard), "n3", revision);
    assert!(released(&ledger)[0].is_over(Timestamp(3)));
}

#[test]
fn a_report_of_nothing_new_changes_nothing() {
    let (mut ledger, mut heard) = (numbered(), Heard::new());
    let revision = grant(&mut ledger, &placement("acme/web", [1]), &at(1));
    report((&mut ledger, &mut heard), "n1", revision);
    assert_eq!(ledger.revision(), revision);
}

#[test]
fn seven_days_are_enough_and_a_clock_set_back_is_not() {
    let mut ledger = numbered();
    grant(&mut ledger, &placement("acme/web", [1]), &at(1000));
    grant(&mut ledger, &placement("acme/web", []), &at(1000));
    let over = |now| released(&ledger).iter().all(|grant| grant.is_over(Timestamp(now)));
    assert!(!over(1000 + limit::QUARANTINE_SECS - 1) && !over(0));
    assert!(over(1000 + limit::QUARANTINE_SECS));
}

/// Every index of slot 1 but these is another tenant's.
fn nearly_full(ledger: &mut Ledger, free: &BTreeSet<ResourceKey>) {
    let number = ledger.allocation(placement("acme/web", []).slot.prefix).unwrap().number();
    let keys = (0x1000..0x2000_u16).map(|index| ResourceKey { number, index: index.try_into().unwrap() });
    let other = |key: &ResourceKey| {
        let seat = Seat::Node(format!("n{}", key.index).parse().unwrap());
        Grant::new("globex/lab".parse().unwrap(), seat, sixfold_core::id::Generation(1))
    };
    let grants = keys.filter(|key| !free.contains(key)).map(|key| (key, other(&key))).collect();
    ledger.commit(&ReadSet::new(), LedgerChange { grants, ..LedgerChange::default() }).unwrap();
}

#[test]
fn what_has_rested_goes_to_another_one_generation_higher_and_not_a_second_earlier() {
    let mut ledger = numbered();
    grant(&mut ledger, &placement("acme/web", [1]), &at(1));
    grant(&mut ledger, &placement("acme/web", []), &at(1));
    let keys: BTreeSet<_> = ledger.grants().keys().copied().collect();
    nearly_full(&mut ledger, &keys);
    let wanted = placement("initech/net", [5]);
    let full = allocate(&ledger, &wanted, &SECRET, &at(limit::QUARANTINE_SECS)).unwrap_err();
    assert_eq!(full.to_string(), "exit slot 1 of 2001:db8:a::/48 is full: 4096 prefixes are in use");
    grant(&mut ledger, &wanted, &at(1 + limit::QUARANTINE_SECS));
    let now: BTreeMap<_, _> =
        ledger.grants_of(&wanted.network).map(|(key, grant)| (key, grant.generation.0)).collect();
    assert_eq!(now, keys.iter().map(|key| (*key, 2)).collect());
    assert_eq!(ledger.all_of(&"acme/web".parse().unwrap()).count(), 0);
    assert_eq!(ledger.count_of(&"acme".parse().unwrap()), 0);
}

#[test]
fn what_was_late_when_its_seat_took_it_again_is_waited_for_at_the_next_release() {
    let mut ledger = numbered();
    grant(&mut ledger, &placement("acme/web", [1, 2]), &at(1));
    grant(&mut ledger, &placement("acme/web", []), &at(2));
    grant(&mut ledger, &placement("acme/web", [1]), &at(3));
    grant(&mut ledger, &placement("acme/web", []), &at(4));
    let last = released(&ledger).into_iter().find(|grant| grant.seat == Seat::Exit).unwrap();
    assert_eq!(last.generation.0, 2);
    assert_eq!(
        last.released.as_ref().unwrap().holders,
        nodes([0, 1, 2]),
        "n2 left with the first generation"
    );
    let mut rested = numbered();
    grant(&mut rested, &placement("acme/web", [1, 2]), &at(1));
    grant(&mut rested, &placement("acme/web", []), &at(2));
    grant(&mut rested, &placement("acme/web", [1]), &at(2 + limit::QUARANTINE_SECS));
    assert!(rested.grants().values().all(|grant| grant.late.is_empty()), "after seven days nobody is late");
}

#[test]
fn a_quota_counts_what_rests_and_never_stops_a_release() {
    let mut ledger = numbered();
    let terms = |quota| Terms { quota, ..at(1) };
    grant(&mut ledger, &placement("acme/web", [1, 2, 3]), &terms(4));
    let more = allocate(&ledger, &placement("acme/db", [1]), &SECRET, &terms(5)).unwrap_err();
    assert_eq!(more.to_string(), "tenant acme has 4 prefixes and asks for 2 more: its quota is 5");
    assert!(matches!(more, AllocateError::Quota { held: 4, asked: 2, quota: 5, .. }));
    allocate(&ledger, &placement("globex/lab", [1]), &SECRET, &terms(5)).unwrap();
    grant(&mut ledger, &placement("acme/web", []), &terms(0));
    assert_eq!(ledger.count_of(&"acme".parse().unwrap()), 4, "they rest and count");
    allocate(&ledger, &placement("acme/db", [1]), &SECRET, &terms(5)).unwrap_err();
    grant(&mut ledger, &placement("acme/web", [1, 2, 3]), &terms(4));
    assert_eq!(ledger.grants_of(&"acme/web".parse().unwrap()).count(), 4, "its own it may take again");
}

#[test]
fn who_has_nothing_yet_is_held_to_the_quota_too() {
    let six = placement("acme/web", [1, 2, 3, 4, 5]);
    let asked = |quota| allocate(&numbered(), &six, &SECRET, &Terms { quota, ..at(1) });
    assert!(matches!(asked(5), Err(AllocateError::Quota { held: 0, asked: 6, quota: 5, .. })));
    asked(6).unwrap();
}

#[test]
fn each_refusal_says_what_helps() {
    let SlotKey { prefix, slot } = placement("acme/web", []).slot;
    let tenant = "acme".parse().unwrap();
    let refusals = [
        (AllocateError::Unnumbered { prefix }, "configure a slot"),
        (AllocateError::Full { prefix, slot, in_use: 4096 }, "another exit slot"),
        (AllocateError::Quota { tenant, held: 5, asked: 1, quota: 5 }, "delete what is not needed"),
    ];
    for (refusal, helps) in refusals {
        assert!(refusal.hint().contains(helps), "{refusal}: {}", refusal.hint());
    }
}

#[test]
fn numbers_that_are_used_up_are_no_panic() {
    let prefixes = (0..65_536_u32)
        .map(|at| ipnet::Ipv6Net::new_assert(((0x2001_0db8_0000_u128 + u128::from(at)) << 80).into(), 48));
    let last = prefixes.clone().next_back().unwrap();
    let allocations: Vec<_> = prefixes.take(65_535).zip(1..=u16::MAX).collect();
    let kept = allocations.iter().map(|(prefix, number)| {
        (sixfold_core::addr::Allocation::new(*prefix, (*number).try_into().unwrap()).unwrap(), Revision(1))
    });
    // Of several only those get one that there is one left for.
    let nearly = Ledger::restore(Revision(1), kept.clone().take(65_534), []);
    let new = [allocations[65_533].0, allocations[65_534].0, last];
    assert_eq!(number_all(&nearly, new).1.allocations, [allocations[65_534].0]);
    let mut ledger = Ledger::restore(Revision(1), kept, []);
    let (read, change) = number(&ledger, last);
    ledger.commit(&read, change).unwrap();
    assert_eq!(ledger.allocation(last), None);
    let wanted = Placement {
        slot: SlotKey { prefix: last, slot: 1_u8.try_into().unwrap() },
        ..placement("acme/web", [1])
    };
    assert_eq!(
        allocate(&ledger, &wanted, &SECRET, &at(1)).unwrap_err(),
        AllocateError::Unnumbered { prefix: last }
    );
}

/// What happens to a ledger: a network takes nodes, a node is in sync with now, time passes.
#[derive(Debug, Clone)]
enum Event {
    Place(usize, BTreeSet<usize>),
    InSync(usize),
    Pass(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let set = prop::collection::btree_set(0..5_usize, 0..4);
    let event = prop_oneof![
        3 => (0..3_usize, set).prop_map(|(network, of)| Event::Place(network, of)),
        2 => (0..5_usize).prop_map(Event::InSync),
        1 => prop::sample::select(vec![1, 1000, limit::QUARANTINE_SECS]).prop_map(Event::Pass),
    ];
    prop::collection::vec(event, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))] // each fills a slot

    /// Whatever happens: an index that changes hands had rested, every new grant of an index has a higher generation,
    /// each tenant's count is what it has, and a ledger put together from its records is the same ledger.
    #[test]
    fn no_index_changes_hands_before_it_has_rested(events in events()) {
        let (mut ledger, mut now, mut heard) = (numbered(), 1, Heard::new());
        for event in events {
            let before = ledger.clone();
            match event {
                Event::Place(network, of) => {
                    // Few indices, so that they are fought over: the rest of the slot is somebody's.
                    if before.grants().is_empty() {
                        let number = ledger.allocation(placement("a/b", []).slot.prefix).unwrap().number();
                        let few = (0x1000..0x1010_u16).map(|index| ResourceKey { number, index: index.try_into().unwrap() }).collect();
                        nearly_full(&mut ledger, &few);
                    }
                    let wanted = placement(&format!("t{network}/web"), of);
                    match allocate(&ledger, &wanted, &SECRET, &at(now)) {
                        Ok((read, change)) => drop(ledger.commit(&read, change).unwrap()),
                        Err(full) => {
                            let is_full = matches!(full, AllocateError::Full { .. });
                            prop_assert!(is_full, "{}", full);
                        }
                    }
                }
                Event::InSync(node) => {
                    let now = ledger.revision();
                    report((&mut ledger, &mut heard), &format!("n{node}"), now);
                }
                Event::Pass(secs) => now += secs,
            }
            for (key, old) in before.grants() {
                let new = &ledger.grants()[key];
                prop_assert!(new.generation >= old.generation);
                if (&new.network, &new.seat) != (&old.network, &old.seat) {
                    prop_assert!(old.is_over(Timestamp(now)), "{:?} had not rested", old);
                }
                if new.is_live() && (!old.is_live() || new.network != old.network) {
                    prop_assert_eq!(new.generation, old.generation.next());
                }
            }
            for tenant in ["t0", "t1", "t2", "globex"] {
                let counted = ledger.grants().values().filter(|grant| grant.network.tenant.as_str() == tenant).count();
                prop_assert_eq!(ledger.count_of(&tenant.parse().unwrap()), counted);
            }
        }
        let kept = ledger.grants().iter().map(|(key, grant)| (*key, grant.clone(), ledger.revision()));
        let allocations = ledger.allocations().map(|allocation| (allocation, Revision(1)));
        let again = Ledger::restore(ledger.revision(), allocations, kept);
        for node in 0..5 {
            let node = format!("n{node}").parse().unwrap();
            prop_assert_eq!(again.rested(&node, &heard).1, ledger.rested(&node, &heard).1);
        }
        prop_assert_eq!(again.grants(), ledger.grants());
    }
}
