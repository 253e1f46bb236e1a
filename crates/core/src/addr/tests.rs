//! The worked cases, injectivity over the whole range, and every length carved.

mod vectors;

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

/// Panics if two of the values are alike.
fn all_differ<T: Ord + std::fmt::Debug>(mut values: Vec<T>) {
    values.sort_unstable();
    for pair in values.windows(2) {
        assert_ne!(pair[0], pair[1]);
    }
}

#[test]
fn prefix_zero_and_its_first_64_are_the_allocations_own() {
    let allocation = allocation("2001:db8:a::/48", 1);
    assert_eq!(allocation.zero().to_string(), "2001:db8:a::/52");
    assert_eq!(allocation.segment().to_string(), "2001:db8:a::/64");
}

#[test]
fn fifteen_slots_hold_61184_prefixes() {
    assert_eq!(indices().count(), 61_184);
    let by_slot: Vec<_> = ExitSlot::all().map(|slot| PrefixIndex::of_slot(slot).count()).collect();
    assert_eq!(by_slot, [vec![4096; 14], vec![3840]].concat());
    let of_slots =
        ExitSlot::all().flat_map(|slot| PrefixIndex::of_slot(slot).map(move |index| (index, slot)));
    assert!(of_slots.eq(indices().map(|index| (index, index.slot()))));
}

/// Every name and address that a namespace, a node or the Internet could see next to another one of the same kind.
#[test]
fn no_two_resources_share_a_name_or_an_address() {
    let (mut links, mut namespaces, mut prefixes) = (Vec::new(), Vec::new(), Vec::new());
    for (prefix, n) in [("2001:db8:a::/48", 1), ("2001:db8:b::/48", 2), ("2001:db8:c::/48", 65_535)] {
        let allocation = allocation(prefix, n);
        let (mut locals, mut addresses_v4, mut macs) =
            (vec![UPSTREAM], vec![GATEWAY_LOOPBACK_V4], Vec::new());
        let mut segment = vec![Gateway::router_in(allocation.whole())];
        for gateway in ExitSlot::all().map(|slot| Gateway::derive(&allocation, slot)) {
            links.push(gateway.public);
            namespaces.push(gateway.netns);
            locals.extend([gateway.public_link_local, gateway.second_link_local].map(|net| net.addr()));
            macs.extend([gateway.public_mac, gateway.second_mac]);
            segment.extend([gateway.public_address, gateway.second_address]);
        }
        for index in indices() {
            let r = Resource::derive(&allocation, index);
            links.extend([r.wireguard, r.bridge, r.local, r.exit_public, r.to_exit]);
            namespaces.push(r.netns);
            prefixes.push(r.prefix);
            locals.extend(
                [r.wireguard_address, r.exit_public_address, r.to_exit_address].map(|net| net.addr()),
            );
            macs.extend([r.to_exit_mac, r.exit_public_mac]);
            addresses_v4.extend([r.local_address_v4, r.exit_loopback_v4]);
            assert!(!r.prefix_v4.contains(&r.exit_loopback_v4), "{index}");
            assert!(
                allocation.slice(index.slot()).contains(&r.prefix) && !allocation.zero().contains(&r.prefix)
            );
        }
        assert!(segment.iter().all(|address| allocation.segment().contains(address)));
        all_differ(segment);
        all_differ(locals);
        all_differ(addresses_v4);
        all_differ(macs);
    }
    all_differ(links);
    all_differ(namespaces);
    all_differ(prefixes);
}

#[test]
fn no_two_workloads_share_an_address_a_mac_or_a_namespace() {
    let allocation = allocation("2001:db8:a::/48", 65_535);
    let (mut addresses, mut macs, mut namespaces) = (Vec::<IpAddr>::new(), Vec::new(), Vec::new());
    for index in indices().filter(|i| [0, 1, 0x7f, 0xff].contains(&i.low())) {
        let resource = Resource::derive(&allocation, index);
        addresses.extend([IpAddr::from(resource.local_address), resource.local_address_v4.into()]);
        addresses.push(resource.nobody().into());
        assert!(resource.prefix.contains(&resource.nobody()));
        macs.extend([resource.to_exit_mac, resource.exit_public_mac]);
        for w in WorkloadNumber::all().map(|k| Workload::derive(&allocation, index, k)) {
            addresses.extend([IpAddr::from(w.address), w.address_v4.into()]);
            macs.extend([w.near_mac, w.far_mac]);
            namespaces.push(w.netns);
            assert!(resource.prefix.contains(&w.address) && resource.prefix_v4.contains(&w.address_v4));
        }
    }
    all_differ(addresses);
    all_differ(macs);
    all_differ(namespaces);
}

/// Two allocations may share a segment: there the gateways' link-local addresses and MACs differ for every (slot, n).
#[test]
fn gateways_of_all_allocations_can_share_a_segment() {
    let prefix = "2001:db8:a::/48".parse().unwrap();
    let (mut addresses, mut macs) = (vec![UPSTREAM], Vec::new());
    for n in AllocationNumber::all() {
        let allocation = Allocation::new(prefix, n).unwrap();
        for gateway in ExitSlot::all().map(|slot| Gateway::derive(&allocation, slot)) {
            addresses.extend([gateway.public_link_local, gateway.second_link_local].map(|net| net.addr()));
            macs.extend([gateway.public_mac, gateway.second_mac]);
        }
    }
    assert_eq!(macs.len(), 2 * 15 * 65_535);
    all_differ(addresses);
    all_differ(macs);
}

/// What needs no number is the same as what is derived with one.
#[test]
fn a_slot_looks_the_same_before_its_allocation_has_a_number() {
    let allocation = allocation("2001:db8:a::/48", 7);
    for slot in ExitSlot::all() {
        let gateway = Gateway::derive(&allocation, slot);
        assert_eq!(Gateway::slice_in(allocation.whole(), slot), gateway.slice);
        assert_eq!(Gateway::address_in(allocation.whole(), slot), gateway.public_address);
        assert_eq!(Gateway::second_in(allocation.whole(), slot), gateway.second_address);
        assert_eq!(
            PrefixIndex::of_slot(slot).next().map(|i| allocation.prefix(i).network()),
            Some(gateway.slice.network())
        );
    }
    assert_eq!(Gateway::router_in(allocation.whole()).to_string(), "2001:db8:a::1/64");
}

#[test]
fn every_length_is_carved() {
    for length in 29..=48_u8 {
        let prefix = Ipv6Net::new("2a05:2380::".parse().unwrap(), length).unwrap();
        let carving = carve(prefix).unwrap();
        assert_eq!(carving.count(48), 1 << (48 - length));
        let mut counted = 0;
        let mut wanted = u128::from(prefix.network()) >> 80;
        let enough = usize::try_from(carving.count(48)).unwrap() + 1;
        for allocation in carving.allocations().take(enough) {
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

#[test]
fn an_index_is_shown_in_the_spelling_that_names_have() {
    let index: PrefixIndex = "1abc".parse().unwrap();
    assert_eq!((format!("{index}"), format!("{index:?}")), ("1abc".to_owned(), "1abc".to_owned()));
}
