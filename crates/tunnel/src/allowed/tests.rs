//! The table against a model that is too simple to be wrong: a list scanned from end to end.

use super::*;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn longest_prefix_wins_and_families_are_apart() {
    let mut table = AllowedIps::default();
    table.insert(net("::/0"), 1);
    table.insert(net("2001:db8::/32"), 2);
    table.insert(net("2001:db8:1::/48"), 3);
    table.insert(net("0.0.0.0/0"), 4);
    table.insert(net("192.0.2.7/32"), 5);
    assert_eq!(table.find(ip("2001:db8:1::9")), Some((3, 48)));
    assert_eq!(table.find(ip("2001:db8:2::9")), Some((2, 32)));
    assert_eq!(table.find(ip("ff02::1")), Some((1, 0)));
    assert_eq!(table.find(ip("192.0.2.7")), Some((5, 32)));
    assert_eq!(table.find(ip("192.0.2.8")), Some((4, 0)));
}

#[test]
fn the_last_writer_takes_a_prefix() {
    let mut table = AllowedIps::default();
    table.insert(net("2001:db8::/64"), 1);
    table.insert(net("2001:db8::5/64"), 2);
    assert_eq!(table.find(ip("2001:db8::1")), Some((2, 64)));
    assert_eq!(table.by_peer(), BTreeMap::from([(2, vec![net("2001:db8::/64")])]));
    table.remove(net("2001:db8::/64"), 1);
    assert_eq!(table.find(ip("2001:db8::1")), Some((2, 64)), "only the owner's prefix can be removed");
    table.remove_peer(2);
    assert_eq!(table.find(ip("2001:db8::1")), None);
}

#[derive(Debug, Clone)]
enum Change {
    Insert(IpNet, u8),
    Remove(IpNet, u8),
    RemovePeer(u8),
}

/// Few distinct bits, so that prefixes collide and nest.
fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0u32..4, 0u32..4).prop_map(|(high, low)| IpAddr::V4(Ipv4Addr::from(high << 30 | low))),
        (0u128..4, 0u128..4).prop_map(|(high, low)| IpAddr::V6(Ipv6Addr::from(high << 126 | low))),
    ]
}

fn prefixes() -> impl Strategy<Value = IpNet> {
    (address(), 0u8..=128, 0u8..3).prop_map(|(address, length, edge)| {
        let width = if address.is_ipv4() { 32 } else { 128 };
        let length = match edge {
            0 => length % (width + 1),
            1 => width - length % 3,
            _ => length % 3,
        };
        IpNet::new(address, length).unwrap()
    })
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(
        prop_oneof![
            6 => (prefixes(), 0u8..4).prop_map(|(prefix, peer)| Change::Insert(prefix, peer)),
            2 => (prefixes(), 0u8..4).prop_map(|(prefix, peer)| Change::Remove(prefix, peer)),
            1 => (0u8..4).prop_map(Change::RemovePeer),
        ],
        0..40,
    )
}

fn model_apply(model: &mut Vec<(IpNet, u8)>, change: &Change) {
    match change {
        Change::Insert(prefix, peer) => {
            model.retain(|(owned, _)| *owned != prefix.trunc());
            model.push((prefix.trunc(), *peer));
        }
        Change::Remove(prefix, peer) => model.retain(|entry| *entry != (prefix.trunc(), *peer)),
        Change::RemovePeer(peer) => model.retain(|(_, owner)| owner != peer),
    }
}

proptest! {
    #[test]
    fn agrees_with_a_list(changes in changes(), probes in prop::collection::vec(address(), 8)) {
        let (mut table, mut model) = (AllowedIps::default(), Vec::new());
        for change in &changes {
            match change {
                Change::Insert(prefix, peer) => table.insert(*prefix, *peer),
                Change::Remove(prefix, peer) => table.remove(*prefix, *peer),
                Change::RemovePeer(peer) => table.remove_peer(*peer),
            }
            model_apply(&mut model, change);
        }
        for probe in probes {
            let expected = model
                .iter()
                .filter(|(prefix, _)| prefix.contains(&probe))
                .max_by_key(|(prefix, _)| prefix.prefix_len())
                .map(|(prefix, peer)| (*peer, prefix.prefix_len()));
            prop_assert_eq!(table.find(probe), expected);
        }
        let listed: usize = table.by_peer().values().map(Vec::len).sum();
        prop_assert_eq!(listed, model.len());
    }
}
