//! Grants: deterministic, unique, contained, never spilling, and reclaimed by nobody but their own.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::farm::{Farm, SECRET};
use proptest::prelude::*;
use sixfold_core::addr::PrefixIndex;
use sixfold_core::allocate::{AllocateError, IndexSecret, Terms, allocate, number};
use sixfold_core::id::{Generation, NodeId, Timestamp};
use sixfold_core::limit;
use sixfold_core::model::{Grant, Ledger, LedgerChange, PortBlock, ReadSet, ResourceKey, Seat, SlotKey};
use sixfold_core::place::{Placement, place};

fn key(slot: u8) -> SlotKey {
    SlotKey { prefix: "2001:db8:a::/48".parse().unwrap(), slot: slot.try_into().unwrap() }
}

fn placement(network: &str, slot: u8, nodes: usize) -> Placement {
    let seats = (0..nodes).map(|at| Seat::Node(format!("n{at}").parse().unwrap())).chain([Seat::Exit]);
    Placement {
        network: network.parse().unwrap(),
        slot: key(slot),
        exit_node: "n0".parse().unwrap(),
        seats: seats.collect(),
        pool_v4: Vec::new(),
        ports: limit::PORTS_PER_NETWORK,
        block_quota: 15,
        pool_quota: 1,
    }
}

fn numbered() -> Ledger {
    let mut ledger = Ledger::default();
    let (read, change) = number(&ledger, key(1).prefix);
    ledger.commit(&read, change).unwrap();
    ledger
}

fn grant(ledger: &mut Ledger, placement: &Placement) {
    let (read, change) = allocate(ledger, placement, &SECRET, &Terms::default()).unwrap();
    ledger.commit(&read, change).unwrap();
}

#[test]
fn the_exit_point_is_a_resource_of_its_own_wherever_the_slot_is_held() {
    let farm = Farm::first();
    let network = farm.world.network(&"globex/lab".parse().unwrap()).unwrap();
    let placement = place(network, farm.world.farm(&"alpha".parse().unwrap()).unwrap()).unwrap();
    assert_eq!(
        placement.exit_node,
        "ant".parse::<NodeId>().unwrap(),
        "ant holds slot 1, though globex never listed it"
    );
    let seat = |node: &str| Seat::Node(node.parse().unwrap());
    assert_eq!(placement.seats, BTreeSet::from([Seat::Exit, seat("bee"), seat("cat")]));
}

#[test]
fn what_is_recreated_elsewhere_gets_the_indices_it_had() {
    let (mut one, mut other) = (numbered(), numbered());
    grant(&mut one, &placement("acme/web", 1, 3));
    grant(&mut other, &placement("globex/lab", 1, 2));
    grant(&mut other, &placement("acme/web", 1, 3));
    let of = |ledger: &Ledger| -> Vec<_> {
        ledger.grants_of(&"acme/web".parse().unwrap()).map(|(key, grant)| (key, grant.clone())).collect()
    };
    assert_eq!(of(&one), of(&other));
}

#[test]
fn another_secret_gives_other_indices() {
    let ledger = numbered();
    let indices = |secret| -> Vec<_> {
        allocate(&ledger, &placement("acme/web", 1, 8), &secret, &Terms::default())
            .unwrap()
            .1
            .grants
            .into_keys()
            .collect()
    };
    assert_ne!(indices(SECRET), indices(IndexSecret([8; 32])));
}

#[test]
fn nothing_changes_when_everything_is_granted() {
    let mut ledger = numbered();
    grant(&mut ledger, &placement("acme/web", 1, 3));
    let before = ledger.clone();
    grant(&mut ledger, &placement("acme/web", 1, 3));
    assert_eq!(ledger, before);
}

#[test]
fn a_released_index_rests_and_comes_back_one_generation_higher_to_its_own_seat_alone() {
    let mut ledger = numbered();
    grant(&mut ledger, &placement("acme/web", 1, 3));
    let first: Vec<_> = ledger.grants_of(&"acme/web".parse().unwrap()).map(|(key, _)| key).collect();
    grant(&mut ledger, &placement("acme/web", 1, 2));
    assert_eq!(ledger.grants_of(&"acme/web".parse().unwrap()).count(), 3);
    assert_eq!(ledger.grants().len(), 4, "the fourth is in quarantine");
    grant(&mut ledger, &placement("globex/lab", 1, 8));
    grant(&mut ledger, &placement("acme/web", 1, 3));
    let again: Vec<_> = ledger.grants_of(&"acme/web".parse().unwrap()).map(|(key, _)| key).collect();
    assert_eq!(again, first);
    let generations: BTreeSet<u32> =
        ledger.grants_of(&"acme/web".parse().unwrap()).map(|(_, grant)| grant.generation.0).collect();
    assert_eq!(generations, BTreeSet::from([1, 2]));
}

#[test]
fn a_slot_is_filled_to_the_last_prefix_and_spills_nowhere() {
    for (slot, room) in [(1_u8, 4096_usize), (15, 3840)] {
        let mut ledger = numbered();
        grant(&mut ledger, &placement("acme/web", slot, room - 1));
        let live: BTreeSet<_> = ledger.grants().keys().collect();
        assert_eq!(live.len(), room);
        assert!(live.iter().all(|key| key.index.slot().get() == slot));
        let full =
            allocate(&ledger, &placement("globex/lab", slot, 1), &SECRET, &Terms::default()).unwrap_err();
        assert_eq!(
            full.to_string(),
            format!("exit slot {slot} of 2001:db8:a::/48 is full: {room} prefixes are in use")
        );
    }
}

#[test]
fn an_allocation_without_a_number_grants_nothing() {
    let refused =
        allocate(&Ledger::default(), &placement("acme/web", 1, 1), &SECRET, &Terms::default()).unwrap_err();
    assert_eq!(refused, AllocateError::Unnumbered { prefix: key(1).prefix });
}

#[test]
fn a_commit_from_an_old_reading_is_refused_and_one_beside_it_is_not() {
    let mut ledger = numbered();
    let one = allocate(&ledger, &placement("acme/web", 1, 1), &SECRET, &Terms::default()).unwrap();
    let same_slot = allocate(&ledger, &placement("globex/lab", 1, 1), &SECRET, &Terms::default()).unwrap();
    let other_slot = allocate(&ledger, &placement("initech/net", 2, 1), &SECRET, &Terms::default()).unwrap();
    ledger.commit(&one.0, one.1).unwrap();
    let before = ledger.clone();
    ledger.commit(&same_slot.0, same_slot.1).unwrap_err();
    assert_eq!(ledger, before);
    ledger.commit(&other_slot.0, other_slot.1).unwrap();
}

#[test]
fn numbers_count_up_and_stay() {
    let mut ledger = numbered();
    for (at, prefix) in ["2001:db8:b::/48", "2001:db8:a::/48", "2001:db8:9::/48"].iter().enumerate() {
        let (read, change) = number(&ledger, prefix.parse().unwrap());
        ledger.commit(&read, change).unwrap();
        assert_eq!(ledger.allocations().count(), [2, 2, 3][at]);
    }
    let numbers: Vec<_> =
        ledger.allocations().map(|it| (it.whole().to_string(), it.number().get())).collect();
    assert_eq!(
        numbers,
        [("2001:db8:9::/48".into(), 3), ("2001:db8:a::/48".into(), 1), ("2001:db8:b::/48".into(), 2)]
    );
}

/// All but these indices of slot 1 are somebody's.
fn nearly_full(free: &[PrefixIndex]) -> Ledger {
    let mut ledger = numbered();
    let number = ledger.allocation(key(1).prefix).unwrap().number();
    let taken = PrefixIndex::of_slot(key(1).slot).filter(|index| !free.contains(index));
    let grants = taken.map(|index| {
        let (network, seat) =
            ("globex/lab".parse().unwrap(), Seat::Node(format!("n{index}").parse().unwrap()));
        let grant = Grant::new(network, seat, Generation::default().next());
        (ResourceKey { number, index }, grant)
    });
    let change = LedgerChange { grants: grants.collect(), ..LedgerChange::default() };
    ledger.commit(&ReadSet::default(), change).unwrap();
    ledger
}

#[test]
fn in_a_slot_that_is_nearly_full_the_next_index_upwards_is_taken() {
    let only = placement("acme/web", 1, 0);
    let granted = |ledger: &Ledger| {
        let (_, change) = allocate(ledger, &only, &SECRET, &Terms::default()).unwrap();
        change.grants.into_keys().map(|key| key.index.get()).collect::<Vec<_>>()
    };
    let first = granted(&numbered())[0];
    let index = |at: u16| PrefixIndex::new(at).unwrap();
    assert!((0x1010..0x1ff0).contains(&first), "{first:x} has neighbours on both sides");
    // None of these is a hashed attempt of this seat, or it would be taken before its turn.
    let (below, above, far) = (index(first - 3), index(first + 3), index(first + 5));
    assert_eq!(granted(&nearly_full(&[below, above, far])), [above.get()]);
    assert_eq!(granted(&nearly_full(&[below, far])), [far.get()]);
    assert_eq!(granted(&nearly_full(&[below, index(0x1000)])), [0x1000], "and on from the beginning");
    assert_eq!(granted(&nearly_full(&[below])), [below.get()]);
}

fn ports_of(ledger: &Ledger, network: &str) -> Option<PortBlock> {
    let mut live = ledger.grants_of(&network.parse().unwrap());
    live.find(|(_, grant)| grant.seat == Seat::Exit).and_then(|(_, grant)| grant.ports)
}

fn own_of(ledger: &Ledger, network: &str) -> Option<Ipv4Addr> {
    let mut live = ledger.grants_of(&network.parse().unwrap());
    live.find(|(_, grant)| grant.seat == Seat::Exit).and_then(|(_, grant)| grant.own_v4)
}

/// It asks for one of so many addresses.
fn asking(placement: Placement, pool: u8) -> Placement {
    Placement { pool_v4: (0..pool).map(|last| Ipv4Addr::new(203, 0, 113, 20 + last)).collect(), ..placement }
}

fn no_address_is_held_twice(ledger: &Ledger) {
    let mut seen = BTreeSet::new();
    for (key, grant) in ledger.grants() {
        let Some(own) = grant.own_v4 else { continue };
        assert!(seen.insert((key.number, key.index.slot(), own)), "{own} of {key:?}");
        assert!(grant.ports.is_some(), "{own} of {key:?} comes without ports");
    }
}

fn no_port_is_held_twice(ledger: &Ledger) {
    for allocation in ledger.allocations() {
        for slot in sixfold_core::id::ExitSlot::all() {
            let held: Vec<_> = ledger.ports_in(allocation.number(), slot).collect();
            for (at, (key, _, ports)) in held.iter().enumerate() {
                assert_eq!(key.index.slot(), slot);
                let twice = held[at + 1..].iter().find(|(_, _, other)| other.overlaps(*ports));
                assert_eq!(twice, None, "{ports} of {key:?}");
            }
        }
    }
}

#[test]
fn each_exit_point_has_ports_of_its_own_until_none_are_left() {
    let mut ledger = numbered();
    for at in 0..65 {
        grant(&mut ledger, &placement(&format!("t{at}/web"), 1, 1));
        no_port_is_held_twice(&ledger);
    }
    let has = |ledger: &Ledger, at: u8| ports_of(ledger, &format!("t{at}/web")).is_some();
    assert_eq!((0..65).filter(|at| has(&ledger, *at)).collect::<Vec<_>>(), (0..63).collect::<Vec<_>>());
    let nodes = ledger.grants().values().filter(|grant| grant.seat != Seat::Exit);
    assert!(nodes.into_iter().all(|grant| grant.ports.is_none()));
    grant(&mut ledger, &placement("t70/web", 2, 1));
    assert!(has(&ledger, 70), "another slot has another address");
    let before = ledger.clone();
    grant(&mut ledger, &placement("t64/web", 1, 1));
    assert_eq!(ledger, before, "nothing to give, and nothing changes");
}

/// What its farmer says holds for who comes from then on; whoever has ports keeps them.
#[test]
fn a_slot_may_give_each_network_more_ports_and_has_room_for_fewer() {
    let mut ledger = numbered();
    let of = |at: u8, ports: u16| Placement { ports, ..placement(&format!("t{at}/web"), 1, 1) };
    let size = |ledger: &Ledger, at: u8| {
        ports_of(ledger, &format!("t{at}/web")).map(|block| u32::from(block.last() - block.first()) + 1)
    };
    grant(&mut ledger, &of(0, 1024));
    for at in 1..=4 {
        grant(&mut ledger, &of(at, 16_384));
        no_port_is_held_twice(&ledger);
    }
    let sizes: Vec<_> = (0..=4).map(|at| size(&ledger, at)).collect();
    assert_eq!(sizes[0], Some(1024));
    let large = sizes.iter().filter(|size| **size == Some(16_384)).count();
    assert!(
        (2..=3).contains(&large),
        "three blocks, or two where the small one lies in the third: {sizes:?}"
    );
    grant(&mut ledger, &of(0, 16_384));
    assert_eq!(size(&ledger, 0), Some(1024), "connections go on");
    for (block, size) in [1024_u16, 2048, 4096, 8192, 16_384]
        .into_iter()
        .flat_map(|size| PortBlock::all(size).map(move |block| (block, size)))
    {
        assert!(block.first() >= 1024 && block.last() - block.first() == size - 1, "{block}");
    }
}

#[test]
fn who_has_no_ports_is_given_some_that_have_rested_when_it_is_allocated_again() {
    let mut ledger = numbered();
    for at in 0..64 {
        grant(&mut ledger, &placement(&format!("t{at}/web"), 1, 1));
    }
    let late = placement("t63/web", 1, 1);
    let exit = |ledger: &Ledger| {
        let mut live = ledger.grants_of(&late.network);
        live.find(|(_, grant)| grant.seat == Seat::Exit).map(|(key, grant)| (key, grant.clone())).unwrap()
    };
    let (key, before) = exit(&ledger);
    // It took its place again while a node had still to let go of it.
    let before = Grant { late: ["n9".parse().unwrap()].into(), ..before };
    let change = LedgerChange { grants: [(key, before.clone())].into(), ..LedgerChange::default() };
    ledger.commit(&ledger.read([]), change).unwrap();
    let freed = ports_of(&ledger, "t7/web").unwrap();
    let nothing = Placement { seats: BTreeSet::new(), ..placement("t7/web", 1, 1) };
    grant(&mut ledger, &nothing);
    grant(&mut ledger, &late);
    assert_eq!(exit(&ledger), (key, before.clone()), "they rest");
    let later = Terms { now: Timestamp(sixfold_core::limit::QUARANTINE_SECS), ..Terms::default() };
    let (read, change) = allocate(&ledger, &late, &SECRET, &later).unwrap();
    ledger.commit(&read, change).unwrap();
    let expected = Grant { ports: Some(freed), generation: before.generation.next(), ..before };
    assert_eq!(exit(&ledger), (key, expected));
    no_port_is_held_twice(&ledger);
    let again = placement("t7/web", 1, 1);
    let (read, change) = allocate(&ledger, &again, &SECRET, &later).unwrap();
    ledger.commit(&read, change).unwrap();
    assert_eq!(ports_of(&ledger, "t7/web"), None, "its own are another's now");
    no_port_is_held_twice(&ledger);
}

#[test]
fn ports_rest_and_are_reclaimed_with_their_index() {
    let mut ledger = numbered();
    let wanted = placement("acme/web", 1, 2);
    grant(&mut ledger, &wanted);
    let ports = ports_of(&ledger, "acme/web").unwrap();
    grant(&mut ledger, &Placement { seats: BTreeSet::new(), ..wanted.clone() });
    assert_eq!(ports_of(&ledger, "acme/web"), None);
    for at in 0..70 {
        grant(&mut ledger, &placement(&format!("t{at}/web"), 1, 1));
        assert_ne!(ports_of(&ledger, &format!("t{at}/web")), Some(ports), "at rest");
    }
    grant(&mut ledger, &wanted);
    assert_eq!(ports_of(&ledger, "acme/web"), Some(ports));
    no_port_is_held_twice(&ledger);
}

#[test]
fn who_asks_has_an_address_of_the_pool_and_keeps_it_whatever_it_asks_for_then() {
    let mut ledger = numbered();
    let web = |nodes| asking(placement("acme/web", 1, nodes), 2);
    grant(&mut ledger, &placement("acme/web", 1, 1));
    assert_eq!(own_of(&ledger, "acme/web"), None, "nobody asked");
    let ports = ports_of(&ledger, "acme/web");
    grant(&mut ledger, &web(1));
    let own = own_of(&ledger, "acme/web").unwrap();
    let exit = |ledger: &Ledger| {
        let mut live = ledger.grants_of(&"acme/web".parse().unwrap());
        live.find(|(_, grant)| grant.seat == Seat::Exit).unwrap().1.clone()
    };
    assert_eq!(
        (exit(&ledger).generation.0, exit(&ledger).ports),
        (2, ports),
        "said anew, with the same ports"
    );
    let before = ledger.clone();
    grant(&mut ledger, &web(1));
    grant(&mut ledger, &placement("acme/web", 1, 1));
    assert_eq!(ledger, before, "it goes with the exit point");
    // The farmer takes it out of the pool.
    let left = Placement { pool_v4: vec![Ipv4Addr::new(203, 0, 113, 99)], ..placement("acme/web", 1, 1) };
    grant(&mut ledger, &left);
    assert_eq!(own_of(&ledger, "acme/web"), Some(left.pool_v4[0]));
    assert_ne!(own, left.pool_v4[0]);
}

#[test]
fn of_a_pool_that_is_used_up_there_is_none_until_one_has_rested() {
    let mut ledger = numbered();
    let of = |at: usize| asking(placement(&format!("t{at}/web"), 1, 1), 2);
    (0..3).for_each(|at| grant(&mut ledger, &of(at)));
    no_address_is_held_twice(&ledger);
    let has = |ledger: &Ledger, at: usize| own_of(ledger, &format!("t{at}/web"));
    assert!(has(&ledger, 0).is_some() && has(&ledger, 1).is_some());
    assert_eq!(has(&ledger, 2), None, "the network goes on without it");
    assert!(ports_of(&ledger, "t2/web").is_some());
    let freed = has(&ledger, 0);
    grant(&mut ledger, &Placement { seats: BTreeSet::new(), ..of(0) });
    grant(&mut ledger, &of(2));
    assert_eq!(has(&ledger, 2), None, "it rests");
    grant(&mut ledger, &of(0));
    assert_eq!(has(&ledger, 0), freed, "and is reclaimed by its own");
    grant(&mut ledger, &Placement { seats: BTreeSet::new(), ..of(0) });
    let later = Terms { now: Timestamp(sixfold_core::limit::QUARANTINE_SECS), ..Terms::default() };
    let (read, change) = allocate(&ledger, &of(2), &SECRET, &later).unwrap();
    ledger.commit(&read, change).unwrap();
    assert_eq!(has(&ledger, 2), freed);
    no_address_is_held_twice(&ledger);
    let (read, change) = allocate(&ledger, &of(0), &SECRET, &later).unwrap();
    ledger.commit(&read, change).unwrap();
    assert_eq!(has(&ledger, 0), None, "its own is another's now");
    no_address_is_held_twice(&ledger);
}

/// Ports: whoever has its quota goes on without, and another gets what is left. What rests counts, and a farmer who says less takes
/// nothing from anybody.
#[test]
fn no_tenant_has_more_blocks_of_a_slot_than_its_quota() {
    let mut ledger = numbered();
    let of = |tenant: &str, at: u8| placement(&format!("{tenant}/n{at}"), 1, 0);
    let has = |ledger: &Ledger, tenant: &str| -> Vec<u8> {
        (0..20).filter(|at| ports_of(ledger, &format!("{tenant}/n{at}")).is_some()).collect()
    };
    (0..20).for_each(|at| grant(&mut ledger, &of("acme", at)));
    assert_eq!(has(&ledger, "acme"), (0..15).collect::<Vec<_>>(), "a quarter of 63");
    grant(&mut ledger, &Placement { slot: key(2), ..of("acme", 19) });
    assert!(has(&ledger, "acme").contains(&19), "another slot has others");
    (0..20).for_each(|at| grant(&mut ledger, &of("globex", at)));
    assert_eq!(has(&ledger, "globex").len(), 15);
    let before = ports_of(&ledger, "acme/n3");
    grant(&mut ledger, &Placement { seats: BTreeSet::new(), ..of("acme", 3) });
    grant(&mut ledger, &of("acme", 16));
    assert!(!has(&ledger, "acme").contains(&16), "what rests counts");
    grant(&mut ledger, &of("acme", 3));
    assert_eq!(ports_of(&ledger, "acme/n3"), before, "and is reclaimed");
    grant(&mut ledger, &Placement { seats: BTreeSet::new(), ..of("acme", 3) });
    let later = Terms { now: Timestamp(limit::QUARANTINE_SECS), ..Terms::default() };
    let (read, change) = allocate(&ledger, &of("acme", 16), &SECRET, &later).unwrap();
    ledger.commit(&read, change).unwrap();
    assert!(has(&ledger, "acme").contains(&16), "until it has rested");
    for at in 0..20 {
        grant(&mut ledger, &Placement { block_quota: 1, ..of("globex", at) });
    }
    assert_eq!(has(&ledger, "globex").len(), 15, "what is granted stays");
}

/// The same of addresses: the tenant's next network has ports, and another tenant the last address.
#[test]
fn no_tenant_has_the_last_address_of_a_pool() {
    let mut ledger = numbered();
    let of = |network: &str| Placement { pool_quota: 2, ..asking(placement(network, 1, 0), 3) };
    for network in ["acme/a", "acme/b", "acme/c", "globex/lab"] {
        grant(&mut ledger, &of(network));
    }
    no_address_is_held_twice(&ledger);
    assert!(own_of(&ledger, "acme/a").is_some() && own_of(&ledger, "acme/b").is_some());
    assert_eq!(own_of(&ledger, "acme/c"), None);
    assert!(ports_of(&ledger, "acme/c").is_some() && own_of(&ledger, "globex/lab").is_some());
    let before = ledger.clone();
    grant(&mut ledger, &Placement { pool_quota: 1, ..of("acme/a") });
    assert_eq!(ledger, before, "what is granted stays");
    // Each has another address once the farmer has others, and no more of them.
    let pool_v4 = (40..43).map(|last| Ipv4Addr::new(203, 0, 113, last)).collect::<Vec<_>>();
    for network in ["acme/a", "acme/b", "acme/c"] {
        grant(&mut ledger, &Placement { pool_v4: pool_v4.clone(), ..of(network) });
    }
    let new = |network: &str| own_of(&ledger, network).is_some_and(|own| pool_v4.contains(&own));
    assert_eq!(["acme/a", "acme/b", "acme/c"].map(new), [true, true, false]);
}

#[test]
fn a_slot_has_room_for_four_tenants_unless_its_farmer_says_otherwise() {
    let quotas = |more: &str| {
        let farm = include_str!("../../../../examples/first-farm/farm.toml");
        let farm =
            Farm::new(&[("farm.toml", &farm.replacen("slot = 1\n", &format!("slot = 1\n{more}\n"), 1))]);
        let slot = farm.world.farms().values().next().unwrap().slot(key(1)).unwrap().draft().clone();
        (slot.block_quota(), slot.pool_quota())
    };
    let pool = (20..28).map(|last| format!("\"203.0.113.{last}\"")).collect::<Vec<_>>().join(", ");
    let pool = format!("pool_v4 = [{pool}]");
    assert_eq!(quotas(""), (15, 1));
    assert_eq!(quotas("ports = 16384"), (1, 1), "of three one");
    assert_eq!(quotas(&pool), (15, 2));
    assert_eq!(quotas(&format!("block_quota = 63\npool_quota = 8\n{pool}")), (63, 8));
}

#[test]
fn without_ports_there_is_no_address() {
    let mut ledger = numbered();
    (0..63).for_each(|at| grant(&mut ledger, &placement(&format!("t{at}/web"), 1, 1)));
    grant(&mut ledger, &asking(placement("acme/web", 1, 1), 2));
    assert_eq!((ports_of(&ledger, "acme/web"), own_of(&ledger, "acme/web")), (None, None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is placed and taken away in whatever order: each seat has one index in the right slot, and none is
    /// anyone else's.
    #[test]
    fn grants_are_disjoint_and_contained(steps in prop::collection::vec((0..4_usize, 1..3_u8, 0..40_usize, 0..4_u8), 1..24)) {
        let mut ledger = numbered();
        for (network, slot, nodes, pool) in steps {
            let wanted = asking(placement(&format!("t{network}/web"), slot, nodes), pool);
            grant(&mut ledger, &wanted);
            let live: Vec<_> = ledger.grants_of(&wanted.network).collect();
            let seats: BTreeSet<_> = live.iter().map(|(_, grant)| grant.seat.clone()).collect();
            prop_assert_eq!(live.len(), seats.len());
            prop_assert_eq!(seats, wanted.seats);
            prop_assert!(live.iter().all(|(key, _)| key.index.slot() == wanted.slot.slot));
            prop_assert!(live.iter().all(|(_, grant)| grant.ports.is_some() == (grant.seat == Seat::Exit)));
            prop_assert!(live.iter().all(|(_, grant)| grant.own_v4.is_none() || grant.seat == Seat::Exit));
            no_port_is_held_twice(&ledger);
            no_address_is_held_twice(&ledger);
        }
    }
}
