//! One farm against all others by the index of a world, against the comparison of all with all.

use std::cell::Cell;

use ipnet::Ipv6Net;
use proptest::prelude::*;
use sixfold_core::model::{
    Family, FarmDraft, Found, NodeDraft, Reach, SlotDraft, SlotKey, Upstream, World, WorldDraft,
};

/// Few of each, so that they clash: two /48s, a /47 with one of them, what derives from them, and others.
const ALLOCATIONS: [&str; 5] =
    ["2001:db8:a::/48", "2001:db8:b::/48", "2001:db8:c::/48", "2001:db8:c::/47", "2001:db8:e::/48"];
const ADDRESSES: [&str; 9] = [
    "2001:db8:ffff::1/64",
    "2001:db8:ffff::2/64",
    "2001:db8:ffff::3/64",
    "2001:db8:ffff::4/64",
    "2001:db8:ffff::5/64",
    "2001:db8:a::1/64",
    "2001:db8:a:0:1000::1/64",
    "2001:db8:a:1777::7/64",
    "2001:db8:c:2000::9/64",
];
const ADDRESSES_V4: [&str; 4] = ["203.0.113.7/24", "203.0.113.8/24", "203.0.113.9/24", "203.0.113.10/24"];
const HOPS: [&str; 4] = ["fe80::1", "fe80::1", "2001:db8:ffff::5", "2001:db8:ffff::6"];
const HOPS_V4: [Option<&str>; 3] = [None, Some("203.0.113.1"), Some("203.0.113.9")];

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn any_node() -> impl Strategy<Value = NodeDraft> {
    let address = prop::option::weighted(0.8, prop::sample::select(&ADDRESSES[..]));
    let address_v4 = prop::option::weighted(0.3, prop::sample::select(&ADDRESSES_V4[..]));
    (0..12_usize, address, address_v4).prop_map(|(name, address, address_v4)| {
        let reach = match address {
            None => Reach::Hidden { families: [Family::Ipv6].into() },
            Some(address) => {
                Reach::Public { address: Some(parsed(address)), address_v4: address_v4.map(parsed) }
            }
        };
        NodeDraft { id: parsed(&format!("n{name}")), reach, nic: parsed("eth0"), mtu: 1500 }
    })
}

/// A farm with nodes, and for each public one of the first few a slot.
fn any_farm() -> impl Strategy<Value = FarmDraft> {
    let nodes = prop::collection::vec(any_node(), 0..3);
    let slots = prop::collection::vec((1..3_u8, prop::option::weighted(0.3, 0..ADDRESSES_V4.len())), 0..2);
    let hops = (prop::sample::select(&HOPS[..]), prop::sample::select(&HOPS_V4[..]));
    let allocations = prop::collection::vec(prop::sample::select(&ALLOCATIONS[..]), 1..3);
    (0..6_usize, allocations, nodes, slots, hops).prop_map(|(name, allocations, nodes, slots, hops)| {
        let allocations: Vec<Ipv6Net> = allocations.into_iter().map(parsed).collect();
        let public = nodes.iter().filter(|node| matches!(node.reach, Reach::Public { .. }));
        let slots = slots.into_iter().zip(public).map(|((slot, address), node)| SlotDraft {
            public_v4: address.map(|at| parsed(ADDRESSES_V4[at])),
            default_v4: address.map(|_| parsed("203.0.113.1")),
            ..SlotDraft::new(
                SlotKey {
                    prefix: Ipv6Net::new(allocations[0].addr(), 48).unwrap(),
                    slot: slot.try_into().unwrap(),
                },
                vec![node.id.clone()],
            )
        });
        FarmDraft {
            id: parsed(&format!("f{name}")),
            upstream: Upstream { next_hop: parsed(hops.0), next_hop_v4: hops.1.map(parsed) },
            management: Vec::new(),
            host_firewall: false,
            provisions: Vec::new(),
            slots: slots.collect(),
            nodes,
            allocations,
        }
    })
}

/// What the comparison of all with all finds.
fn whole(world: &World, draft: &FarmDraft) -> Vec<Found> {
    let mut draft_of_all: WorldDraft = world.clone().into();
    draft_of_all.farms.retain(|farm| farm.id != draft.id);
    draft_of_all.farms.push(draft.clone());
    draft_of_all.faults().into_iter().map(|(_, found)| found).collect()
}

/// Farms come, change and go in any order: each that comes is found at fault with the same farms, in the same words, as by
/// comparing all with all, and a world that shrank is the world that was built.
#[test]
fn the_index_finds_every_clash_that_the_whole_comparison_finds() {
    let (sound, clashing) = (Cell::new(0_usize), Cell::new(0_usize));
    let farms = prop::collection::vec((any_farm(), 0..4_u8), 1..24);
    proptest!(ProptestConfig::with_cases(400), |(farms in farms)| {
        let mut world = World::default();
        for (draft, then) in farms {
            let all = whole(&world, &draft);
            let alone = draft.faults().len();
            clashing.set(clashing.get() + usize::from(all.len() > alone));
            match world.farm_from(draft.clone()) {
                Ok(farm) => {
                    prop_assert_eq!(all, []);
                    world.insert_farm(farm);
                    sound.set(sound.get() + 1);
                }
                Err(found) => prop_assert_eq!(found, all),
            }
            if then == 0 {
                world.remove_farm(&draft.id);
            }
            prop_assert_eq!(&World::try_from(WorldDraft::from(world.clone())).unwrap(), &world);
        }
    });
    let (sound, clashing) = (sound.get(), clashing.get());
    println!("{sound} farms were sound, {clashing} clashed with others");
    // However many cases were asked for: a good part is of either kind.
    assert!(sound.min(clashing) * 10 > sound + clashing, "{sound} and {clashing}");
}
