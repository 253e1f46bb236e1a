//! The table of AllowedIPs: which peer owns an inner address. Every prefix has exactly one owner, the last writer
//! taking it over, and the longest matching prefix decides (WireGuard paper, section 2: cryptokey routing).
//! It knows nothing of packets. A lookup walks one trie; what is done to a peer costs what that peer owns.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Prefixes of both families, each owned by one peer.
#[derive(Debug, Clone)]
pub struct AllowedIps<P> {
    v6: PrefixMap<Ipv6Net, P>,
    v4: PrefixMap<Ipv4Net, P>,
    /// The same by owner; nobody is in it who owns nothing.
    owned: BTreeMap<P, BTreeSet<IpNet>>,
}

impl<P> Default for AllowedIps<P> {
    fn default() -> Self {
        Self { v6: PrefixMap::new(), v4: PrefixMap::new(), owned: BTreeMap::new() }
    }
}

impl<P: Copy + Ord> AllowedIps<P> {
    /// Gives `prefix` to `peer`; host bits are ignored. Whoever owned exactly this prefix loses it.
    pub fn insert(&mut self, prefix: IpNet, peer: P) {
        let prefix = prefix.trunc();
        let before = match prefix {
            IpNet::V6(prefix) => self.v6.insert(prefix, peer),
            IpNet::V4(prefix) => self.v4.insert(prefix, peer),
        };
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
        match address {
            IpAddr::V6(address) => {
                self.v6.get_lpm(&address.into()).map(|(prefix, owner)| (*owner, prefix.prefix_len()))
            }
            IpAddr::V4(address) => {
                self.v4.get_lpm(&address.into()).map(|(prefix, owner)| (*owner, prefix.prefix_len()))
            }
        }
    }

    /// Lists every prefix by owner, each owner's in one order: IPv6 first, short before long.
    pub fn by_peer(&self) -> BTreeMap<P, Vec<IpNet>> {
        let listed = |prefixes: &BTreeSet<IpNet>| {
            let mut prefixes: Vec<IpNet> = prefixes.iter().copied().collect();
            prefixes.sort_by_key(|prefix| (prefix.addr().is_ipv4(), prefix.prefix_len(), prefix.addr()));
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
        match prefix {
            IpNet::V6(prefix) => self.v6.remove(&prefix),
            IpNet::V4(prefix) => self.v4.remove(&prefix),
        };
    }
}

#[cfg(test)]
mod tests;
