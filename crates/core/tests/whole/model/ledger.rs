//! The ledger against a naive model of it: numbers, grants, the index by network, and a revision for each record.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use sixfold_core::allocate::{Terms, allocate};
use sixfold_core::id::{AllocationNumber, ExitSlot, Generation, NetworkId, Revision, Timestamp};
use sixfold_core::limit;
use sixfold_core::model::{
    Conflict, Grant, Ledger, LedgerChange, ReadSet, Record, ResourceKey, Seat, SlotKey,
};
use sixfold_core::place::Placement;

use crate::farm::SECRET;

fn network(at: u8) -> NetworkId {
    format!("t{at}/web").parse().unwrap()
}

fn key(number: u16, index: u16) -> ResourceKey {
    ResourceKey { number: number.try_into().unwrap(), index: index.try_into().unwrap() }
}

fn grant(of: u8, node: u8, quarantined: bool) -> Grant {
    let seat = if node == 0 { Seat::Exit } else { Seat::Node(format!("n{node}").parse().unwrap()) };
    let grant = Grant::new(network(of), seat, Generation(1));
    if quarantined { grant.release(Timestamp(0), ["n9".parse().unwrap()].into()) } else { grant }
}

fn change(grants: impl IntoIterator<Item = (ResourceKey, Grant)>) -> LedgerChange {
    LedgerChange { grants: grants.into_iter().collect(), ..LedgerChange::default() }
}

fn slot(number: u16, slot: u8) -> Record {
    Record::Slot(number.try_into().unwrap(), slot.try_into().unwrap())
}

/// Commits with a reading of now.
fn write(ledger: &mut Ledger, change: LedgerChange) -> Revision {
    ledger.commit(&ReadSet::new(), change).unwrap()
}

#[test]
fn only_records_that_changed_since_they_were_read_conflict() {
    let mut ledger = Ledger::default();
    let records =
        [slot(1, 1), slot(1, 2), slot(2, 1), Record::Network(network(1)), Record::Network(network(2))];
    let readings: Vec<ReadSet> = records.iter().map(|record| ledger.read([record.clone()])).collect();
    write(&mut ledger, change([(key(1, 0x1001), grant(1, 1, false))]));
    let more = || change([(key(3, 0x3001), grant(3, 1, false))]);
    for (record, read) in records.iter().zip(readings) {
        let before = ledger.clone();
        let changed = *record == slot(1, 1) || *record == Record::Network(network(1));
        match ledger.commit(&read, more()) {
            Err(Conflict { record: named }) => {
                assert!(changed && named == *record, "{record:?}");
                assert_eq!(ledger, before, "nothing is written then");
            }
            Ok(_) => assert!(!changed, "{record:?}"),
        }
    }
}

#[test]
fn a_network_that_loses_a_grant_to_another_has_changed_too() {
    let mut ledger = Ledger::default();
    write(&mut ledger, change([(key(1, 0x1001), grant(1, 1, false))]));
    let read = ledger.read([Record::Network(network(1))]);
    write(&mut ledger, change([(key(1, 0x1001), grant(2, 1, false))]));
    let late = ledger.commit(&read, change([(key(1, 0x2002), grant(1, 2, false))]));
    assert_eq!(late, Err(Conflict { record: Record::Network(network(1)) }));
}

#[test]
fn a_change_of_nothing_is_no_revision() {
    let mut ledger = Ledger::default();
    let first = write(&mut ledger, change([(key(1, 0x1001), grant(1, 1, false))]));
    assert_eq!(write(&mut ledger, LedgerChange::default()), first);
    assert_eq!(ledger.revision(), first);
}

#[test]
fn an_allocation_keeps_the_number_it_has_when_it_is_written_again() {
    let mut ledger = Ledger::default();
    let prefixes = ["2001:db8:b::/48", "2001:db8:a::/48"].map(|prefix| prefix.parse().unwrap());
    let numbered = |allocations: &[ipnet::Ipv6Net]| LedgerChange {
        allocations: allocations.to_vec(),
        ..LedgerChange::default()
    };
    write(&mut ledger, numbered(&prefixes[..1]));
    write(&mut ledger, numbered(&prefixes));
    let number = |ledger: &Ledger, prefix| ledger.allocation(prefix).unwrap().number().get();
    assert_eq!((number(&ledger, prefixes[0]), number(&ledger, prefixes[1])), (1, 2));
    assert_eq!(ledger.allocation("2001:db8:c::/48".parse().unwrap()), None);
}

fn placement(slot: u8, nodes: u8) -> Placement {
    let seats = (1..=nodes).map(|node| Seat::Node(format!("n{node}").parse().unwrap())).chain([Seat::Exit]);
    let slot = SlotKey { prefix: "2001:db8:a::/48".parse().unwrap(), slot: slot.try_into().unwrap() };
    Placement {
        network: network(1),
        slot,
        exit_node: "n1".parse().unwrap(),
        seats: seats.collect(),
        pool_v4: Vec::new(),
        ports: limit::PORTS_PER_NETWORK,
        block_quota: 15,
        pool_quota: 1,
    }
}

fn place(ledger: &mut Ledger, placement: &Placement) {
    let (read, change) = allocate(ledger, placement, &SECRET, &Terms::default()).unwrap();
    ledger.commit(&read, change).unwrap();
}

#[test]
fn a_network_that_moves_to_another_slot_and_back_reclaims_every_prefix_one_generation_higher() {
    let mut ledger = Ledger::default();
    write(
        &mut ledger,
        LedgerChange { allocations: vec!["2001:db8:a::/48".parse().unwrap()], ..LedgerChange::default() },
    );
    place(&mut ledger, &placement(1, 3));
    let before: BTreeMap<_, _> =
        ledger.grants_of(&network(1)).map(|(key, grant)| (key, grant.clone())).collect();
    place(&mut ledger, &placement(2, 3));
    assert!(ledger.grants_of(&network(1)).all(|(key, _)| key.index.slot().get() == 2));
    assert!(before.keys().all(|key| !ledger.grants()[key].is_live()), "the old ones rest");
    place(&mut ledger, &placement(1, 3));
    let after: BTreeMap<_, _> =
        ledger.grants_of(&network(1)).map(|(key, grant)| (key, grant.clone())).collect();
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (key, grant) in &before {
        let late = after[key].late.clone(); // nobody has said that the first generation is gone
        assert_eq!(after[key], Grant { generation: grant.generation.next(), late, ..grant.clone() });
    }
}

#[test]
fn nobody_elses_quarantine_is_reclaimed_even_in_a_slot_that_is_full_of_it() {
    let mut ledger = Ledger::default();
    write(
        &mut ledger,
        LedgerChange { allocations: vec!["2001:db8:a::/48".parse().unwrap()], ..LedgerChange::default() },
    );
    let free = 0x1abc;
    let all = (0x1000..0x2000).filter(|index| *index != free).map(|index| (key(1, index), grant(2, 1, true)));
    write(&mut ledger, change(all));
    place(&mut ledger, &placement(1, 0));
    assert_eq!(ledger.grants_of(&network(1)).map(|(key, _)| key).collect::<Vec<_>>(), [key(1, free)]);
    let full = allocate(&ledger, &placement(1, 1), &SECRET, &Terms::default()).unwrap_err();
    assert!(full.to_string().ends_with("4096 prefixes are in use"), "{full}");
}

/// What is written: allocation, index, network, node, whether it is released.
type Write = (u16, u16, u8, u8, bool);

fn writes() -> impl Strategy<Value = Vec<Vec<Write>>> {
    let one = (
        1..3_u16,
        prop::sample::select(vec![0x1001, 0x1fff, 0x2000, 0x2001, 0xf000, 0xfeff]),
        0..3_u8,
        0..3_u8,
        any::<bool>(),
    );
    prop::collection::vec(prop::collection::vec(one, 1..4), 1..12)
}

proptest! {
    #[test]
    fn the_ledger_is_a_map_with_two_views_and_a_revision_for_each(writes in writes()) {
        let mut ledger = Ledger::default();
        let mut naive: BTreeMap<ResourceKey, Grant> = BTreeMap::new();
        let mut last: BTreeMap<Record, Revision> = BTreeMap::new();
        for commit in writes {
            let grants: BTreeMap<_, _> =
                commit.into_iter().map(|(n, index, of, node, gone)| (key(n, index), grant(of, node, gone))).collect();
            let revision = write(&mut ledger, change(grants.clone()));
            for (key, mut grant) in grants {
                if let Some(release) = &mut grant.released {
                    release.revision = revision;
                }
                let before = naive.insert(key, grant.clone());
                let networks = [Some(grant.network), before.map(|before| before.network)];
                last.extend(networks.into_iter().flatten().map(|network| (Record::Network(network), revision)));
                last.insert(Record::Slot(key.number, key.index.slot()), revision);
            }
        }
        prop_assert_eq!(ledger.grants(), &naive);
        for of in 0..3 {
            let live: Vec<_> = naive.iter().filter(|(_, grant)| grant.network == network(of) && grant.is_live()).collect();
            let told: Vec<_> = ledger.grants_of(&network(of)).collect();
            prop_assert_eq!(told.iter().map(|(key, grant)| (key, *grant)).collect::<Vec<_>>(), live);
        }
        for number in [1_u16, 2].map(|n| AllocationNumber::try_from(n).unwrap()) {
            for slot in ExitSlot::all() {
                let within: BTreeSet<_> = naive.keys().filter(|key| key.number == number && key.index.slot() == slot).map(|key| key.index).collect();
                prop_assert_eq!(ledger.grants_in(number, slot).map(|(index, _)| index).collect::<BTreeSet<_>>(), within);
            }
        }
        for (record, revision) in last {
            prop_assert_eq!(ledger.read([record.clone()])[&record], revision, "{:?}", record);
        }
    }
}
