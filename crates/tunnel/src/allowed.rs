//! The table of AllowedIPs: which peer owns an inner address. Every prefix has exactly one owner, the last writer
//! taking it over, and the longest matching prefix decides (WireGuard paper, section 2: cryptokey routing).
//! It knows nothing of packets. A lookup costs one map probe per prefix length in use.

use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Prefixes of both families, each owned by one peer.
#[derive(Debug, Clone)]
pub struct AllowedIps<P> {
    /// By family (false: IPv6, true: IPv4), then by prefix length, then by masked address.
    lengths: BTreeMap<(bool, u8), BTreeMap<u128, P>>,
}

impl<P> Default for AllowedIps<P> {
    fn default() -> Self {
        Self { lengths: BTreeMap::new() }
    }
}

impl<P: Copy + Ord> AllowedIps<P> {
    /// Gives `prefix` to `peer`; host bits are ignored. Whoever owned exactly this prefix loses it.
    pub fn insert(&mut self, prefix: IpNet, peer: P) {
        let prefix = prefix.trunc();
        let length = (prefix.addr().is_ipv4(), prefix.prefix_len());
        self.lengths.entry(length).or_default().insert(bits(prefix.addr()), peer);
    }

    /// Takes `prefix` from `peer`; whoever else owns it keeps it.
    pub fn remove(&mut self, prefix: IpNet, peer: P) {
        let prefix = prefix.trunc();
        let length = (prefix.addr().is_ipv4(), prefix.prefix_len());
        let Some(prefixes) = self.lengths.get_mut(&length) else { return };
        let address = bits(prefix.addr());
        if prefixes.get(&address) == Some(&peer) {
            prefixes.remove(&address);
        }
        if prefixes.is_empty() {
            self.lengths.remove(&length);
        }
    }

    /// Takes everything from `peer`.
    pub fn remove_peer(&mut self, peer: P) {
        self.lengths.retain(|_, prefixes| {
            prefixes.retain(|_, owner| *owner != peer);
            !prefixes.is_empty()
        });
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
        let mut owners: BTreeMap<P, Vec<IpNet>> = BTreeMap::new();
        for ((family_v4, length), prefixes) in &self.lengths {
            for (value, owner) in prefixes {
                owners.entry(*owner).or_default().push(prefix(*family_v4, *length, *value));
            }
        }
        owners
    }
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

fn prefix(family_v4: bool, length: u8, value: u128) -> IpNet {
    let address = if family_v4 {
        IpAddr::V4(u32::try_from(value).expect("an IPv4 value was made from 32 bits").into())
    } else {
        IpAddr::V6(value.into())
    };
    IpNet::new(address, length).expect("the length came from a prefix of this family")
}

#[cfg(test)]
mod tests;
