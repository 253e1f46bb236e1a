//! The worked cases, injectivity over the whole range, and every length carved.

mod vectors;

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::Ipv6Net;
use proptest::prelude::*;

use super::*;
use crate::id::{AllocationNumber, ExitSlot, WorkloadNumber};

fn allocation(prefix: &str, n: u16) -> Allocation {
    Allocation::new(prefix.parse().unwrap(), AllocationNumber::try_from(n).unwrap()).unwrap()
}

fn indices() -> impl Iterator<Item = PrefixIndex> {
    (0..=u16::MAX).filter_map(|i| PrefixIndex::new(i).ok())
}

#[test]
fn fifteen_slots_hold_61184_prefixes() {
    assert_eq!(indices().count(), 61_184);
    let by_slot: Vec<_> = ExitSlot::all().map(|slot| PrefixIndex::of_slot(slot).count()).collect();
    assert_eq!(by_slot, [vec![4096; 14], vec![3840]].concat());
    assert!(indices().all(|i| PrefixIndex::of_slot(i.slot()).any(|other| other == i)));
}

/// Every name and address that a namespace, a node or the Internet could see next to another one of the same kind.
#[test]
fn no_two_resources_share_a_name_or_an_address() {
    let (mut links, mut namespaces, mut prefixes) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (prefix, n) in [("2001:db8:a::/48", 1), ("2001:db8:b::/48", 2), ("2001:db8:c::/48", 65_535)] {
        let allocation = allocation(prefix, n);
        let (mut locals, mut addresses_v4, mut macs) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        assert!(locals.insert(UPSTREAM) && addresses_v4.insert(GATEWAY_LOOPBACK_V4));
        for slot in ExitSlot::all() {
            let gateway = Gateway::derive(&allocation, slot);
            assert!(links.insert(gateway.public) && namespaces.insert(gateway.netns));
            assert!(locals.insert(gateway.public_link_local.addr()), "{}", gateway.public_link_local);
            assert!(macs.insert(gateway.public_mac), "{}", gateway.public_mac);
            assert!(allocation.segment().contains(&gateway.public_address));
        }
        for index in indices() {
            let r = Resource::derive(&allocation, index);
            for link in [r.wireguard, r.bridge, r.local, r.exit_public, r.to_exit] {
                assert!(links.insert(link), "{link}");
            }
            assert!(namespaces.insert(r.netns) && prefixes.insert(r.prefix));
            for local in [r.wireguard_address, r.exit_public_address, r.to_exit_address] {
                assert!(locals.insert(local.addr()), "{local}");
            }
            assert!(macs.insert(r.to_exit_mac) && macs.insert(r.exit_public_mac));
            assert!(addresses_v4.insert(r.local_address_v4) && addresses_v4.insert(r.exit_loopback_v4));
            assert!(!r.prefix_v4.contains(&r.exit_loopback_v4), "{index}");
            assert_eq!(allocation.index_of(r.local_address), Some(index));
            assert!(
                allocation.slice(index.slot()).contains(&r.prefix) && !allocation.zero().contains(&r.prefix)
            );
        }
    }
}

#[test]
fn no_two_workloads_share_an_address_a_mac_or_a_namespace() {
    let allocation = allocation("2001:db8:a::/48", 65_535);
    let (mut addresses, mut macs, mut namespaces) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let numbers = || WorkloadNumber::all();
    for index in indices().filter(|i| i.low() % 17 == 0) {
        let resource = Resource::derive(&allocation, index);
        assert!(addresses.insert(IpAddr::from(resource.local_address)));
        assert!(addresses.insert(IpAddr::from(resource.local_address_v4)));
        for k in numbers() {
            let w = Workload::derive(&allocation, index, k);
            assert!(addresses.insert(w.address.into()) && addresses.insert(w.address_v4.into()));
            assert!(macs.insert(w.near_mac) && macs.insert(w.far_mac) && namespaces.insert(w.netns));
            assert!(resource.prefix.contains(&w.address) && resource.prefix_v4.contains(&w.address_v4));
        }
    }
}

/// Two allocations may share a segment: there the gateways' link-local addresses and MACs differ for every (slot, n).
#[test]
fn gateways_of_all_allocations_can_share_a_segment() {
    let mut seen = BTreeSet::new();
    for n in AllocationNumber::all() {
        let allocation = Allocation::new("2001:db8:a::/48".parse().unwrap(), n).unwrap();
        for slot in ExitSlot::all() {
            let gateway = Gateway::derive(&allocation, slot);
            assert_ne!(gateway.public_link_local.addr(), UPSTREAM);
            assert!(seen.insert((gateway.public_link_local, gateway.public_mac)));
        }
    }
    let (addresses, macs): (BTreeSet<_>, BTreeSet<_>) = seen.iter().copied().unzip();
    assert_eq!((addresses.len(), macs.len()), (15 * 65_535, 15 * 65_535));
}

#[test]
fn every_length_is_carved() {
    for length in 29..=48_u8 {
        let prefix = Ipv6Net::new("2a05:2380::".parse().unwrap(), length).unwrap();
        let carving = carve(prefix).unwrap();
        assert_eq!(carving.count(48), 1 << (48 - length));
        let mut counted = 0;
        let mut wanted = u128::from(prefix.network()) >> 80;
        for allocation in carving.allocations() {
            assert_eq!((u128::from(allocation.network()) >> 80, allocation.prefix_len()), (wanted, 48));
            (counted, wanted) = (counted + 1, wanted + 1);
        }
        assert_eq!(counted, carving.count(48));
        let last = carving.allocations().next_back().unwrap();
        assert_eq!(last.broadcast(), prefix.broadcast());
        assert!(carving.holds(last) && Allocation::new(last, AllocationNumber::FIRST).is_ok());
    }
}

#[test]
fn what_is_no_allocation_says_why() {
    let said = |text: &str| carve(text.parse().unwrap()).unwrap_err().to_string();
    assert_eq!(said("2001:db8:a::1/48"), "2001:db8:a::1/48 has host bits: it would be 2001:db8:a::/48");
    assert_eq!(
        said("2001:db8:a:100::/56"),
        "2001:db8:a:100::/56 is longer than /48: it cannot hold exit slots"
    );
    assert_eq!(said("2001:db8::/28"), "2001:db8::/28 is shorter than /29: no operator is given so much");
    assert_eq!(said("fd00::/48"), "fd00::/48 is not global unicast (2000::/3)");
    assert_eq!(said("2000::/2"), "2000::/2 is not global unicast (2000::/3)");
    let whole = Allocation::new("2001:db8::/40".parse().unwrap(), AllocationNumber::FIRST);
    assert!(matches!(whole, Err(AllocationError::Uncarved { .. })));
}

#[test]
fn what_is_deserialised_is_checked() {
    let json = r#"{"prefix":"2001:db8:a::/48","number":1}"#;
    let read: Allocation = serde_json::from_str(json).unwrap();
    assert_eq!(read, allocation("2001:db8:a::/48", 1));
    assert_eq!(serde_json::to_string(&read).unwrap(), json);
    assert!(serde_json::from_str::<Allocation>(&json.replace("a::", "a::1")).is_err());
    assert!(serde_json::from_str::<Allocation>(&json.replace('1', "0")).is_err());
    assert!(serde_json::from_str::<PrefixIndex>("\"0abc\"").is_err());
}

proptest! {
    #[test]
    fn an_index_reads_as_it_is_written(i: u16) {
        let text = format!("{i:04x}");
        match PrefixIndex::new(i) {
            Ok(index) => {
                prop_assert_eq!(text.parse(), Ok(index));
                prop_assert_eq!(u16::from_be_bytes([index.high(), index.low()]), i);
            }
            Err(error) => prop_assert_eq!(text.parse::<PrefixIndex>(), Err(error)),
        }
    }

    #[test]
    fn only_four_lowercase_digits_are_an_index(text in "[0-9a-fA-F+ x]{0,6}") {
        if let Ok(index) = text.parse::<PrefixIndex>() {
            prop_assert_eq!(index.to_string(), text);
        }
    }

    #[test]
    fn a_prefix_is_an_allocation_or_has_a_reason(bits: u128, length in 0..=128_u8) {
        let prefix = Ipv6Net::new(bits.into(), length).unwrap();
        let wanted = (29..=48).contains(&length) && prefix == prefix.trunc() && bits >> 125 == 1;
        prop_assert_eq!(carve(prefix).is_ok(), wanted);
    }
}
