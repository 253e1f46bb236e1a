//! The table of AllowedIPs: which peer owns an inner address. Every prefix has exactly one owner, the last writer
//! taking it over, and the longest matching prefix decides (WireGuard paper, section 2: cryptokey routing).
//! It knows nothing of packets. A lookup costs one map probe per prefix length in use (docs/adr/0051), and what is done to a
//! peer costs what that peer owns.

use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Prefixes of both families, each owned by one peer.
#[derive(Debug, Clone)]
pub struct AllowedIps<P> {
    /// By family (false: IPv6, true: IPv4), then by prefix length, then by masked address.
    lengths: BTreeMap<(bool, u8), BTreeMap<u128, P>>,
    /// The same by owner; nobody is in it who owns nothing.
    owned: BTreeMap<P, BTreeSet<IpNet>>,
}

impl<P> Default for AllowedIps<P> {
    fn default() -> Self {
        Self { lengths: BTreeMap::new(), owned: BTreeMap::new() }
    }
}

impl<P: Copy + Ord> AllowedIps<P> {
    /// Gives `prefix` to `peer`; host bits are ignored. Whoever owned exactly this prefix loses it.
    pub fn insert(&mut self, prefix: IpNet, peer: P) {
        let prefix = prefix.trunc();
        let before = self.lengths.entry(length(prefix)).or_default().insert(bits(prefix.addr()), peer);
        if let Some(before) = before.filter(|before| *before != peer) {
            self.disown(prefix, before);
        }
        self.owned.entry(peer).or_default().insert(prefix);
    }

    /// Takes `prefix` from `peer`; whoever else owns it keeps it.
    pub fn remove(&mut self, prefix: IpNet, peer: P) {
        let prefix = prefix.trunc();
        if self.disown(prefix, peer) {
            self.forget(prefix);
        }
    }

    /// Takes everything from `peer`.
    pub fn remove_peer(&mut self, peer: P) {
        for prefix in self.owned.remove(&peer).unwrap_or_default() {
            self.forget(prefix);
        }
    }

    /// Finds the owner of the longest prefix that covers `address`, and that prefix's length.
    pub fn find(&self, address: IpAddr) -> Option<(P, u8)> {
        let (family, width, value) = (address.is_ipv4(), width(address), bits(address));
        self.lengths.range((family, 0)..=(family, width)).rev().find_map(|((_, length), prefixes)| {
            let owner = prefixes.get(&masked(value, width - length))?;
            Some((*owner, *length))
        })
    }

    /// Lists every prefix by owner, each owner's in one order: IPv6 first, short before long.
    pub fn by_peer(&self) -> BTreeMap<P, Vec<IpNet>> {
        let listed = |prefixes: &BTreeSet<IpNet>| {
            let mut prefixes: Vec<IpNet> = prefixes.iter().copied().collect();
            prefixes.sort_by_key(|prefix| (length(*prefix), prefix.addr()));
            prefixes
        };
        self.owned.iter().map(|(peer, prefixes)| (*peer, listed(prefixes))).collect()
    }

    /// Takes a prefix from the list of its owner; tells whether it was the owner.
    fn disown(&mut self, prefix: IpNet, peer: P) -> bool {
        let Some(prefixes) = self.owned.get_mut(&peer) else { return false };
        let was_owner = prefixes.remove(&prefix);
        if prefixes.is_empty() {
            self.owned.remove(&peer);
        }
        was_owner
    }

    fn forget(&mut self, prefix: IpNet) {
        let Some(prefixes) = self.lengths.get_mut(&length(prefix)) else { return };
        prefixes.remove(&bits(prefix.addr()));
        if prefixes.is_empty() {
            self.lengths.remove(&length(prefix));
        }
    }
}

/// Family and length of a prefix.
fn length(prefix: IpNet) -> (bool, u8) {
    (prefix.addr().is_ipv4(), prefix.prefix_len())
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V6(address) => address.to_bits(),
        IpAddr::V4(address) => u128::from(address.to_bits()),
    }
}

const fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Clears the lowest `host_bits` bits.
fn masked(value: u128, host_bits: u8) -> u128 {
    value.checked_shr(host_bits.into()).map_or(0, |high| high << host_bits)
}

#[cfg(test)]
mod tests;
