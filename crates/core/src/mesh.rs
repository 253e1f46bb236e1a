//! Who of a network peers with whom, and which prefixes each peer carries.
//!
//! ```text
//!   resource ─── direct, where an address family is shared in which one side can be reached ─── resource
//!       └──────── ::/0 and 0.0.0.0/0: everything else, by the exit point ────────┘
//! ```
//!
//! Exactly one peer owns each prefix: WireGuard silently gives an overlap to its last writer. Seeds 002 and 003.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::addr::{PrefixIndex, Resource};
use crate::key::PublicKey;
use crate::limit;
use crate::model::{DeviceReport, Family, NetworkView, Reach, ResourceView, Seat};

/// A peer of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshPeer {
    /// The peer's index.
    pub index: PrefixIndex,
    /// Its device's key.
    pub public_key: PublicKey,
    /// Where to reach it; `None` for one that is hidden from here: it calls first.
    pub endpoint: Option<SocketAddr>,
    /// What it carries; nothing, of an exit point that another node has ready: then a moved slot is one change of it.
    pub allowed_ips: BTreeSet<IpNet>,
    /// What may come from it though another carries it: of an exit point that is ready, all that comes from the one that
    /// serves, since while a slot moves each member switches in its own moment.
    pub accepted_ips: BTreeSet<IpNet>,
    /// Seconds between keepalives; 0 but where a NAT of ours must be kept open.
    pub keepalive_secs: u16,
}

/// The peers of the resource at `index`. A resource whose device is not reported yet is nobody's peer yet.
///
/// Empty if the network has no such resource.
#[must_use]
pub fn mesh(network: &NetworkView, index: PrefixIndex) -> Vec<MeshPeer> {
    let Some(me) = network.resources.iter().find(|resource| resource.index == index) else {
        return Vec::new();
    };
    let others = network.resources.iter().filter(|other| other.index != index);
    let peers = others.flat_map(|other| {
        let there = peer(me, other.index, (&other.reach, other.device.as_ref()))
            .map(|there| MeshPeer { allowed_ips: carried(network, other), ..there });
        let standbys = other.standbys.iter().filter_map(|standby| {
            let ready = peer(me, other.index, (&standby.reach, standby.device.as_ref()))?;
            Some(MeshPeer { accepted_ips: carried(network, other), ..ready })
        });
        there.into_iter().chain(standbys)
    });
    peers.collect()
}

/// A peer that carries nothing yet.
fn peer(
    me: &ResourceView,
    index: PrefixIndex,
    (reach, device): (&Reach, Option<&DeviceReport>),
) -> Option<MeshPeer> {
    let family = direct(&me.reach, reach)?;
    let device = device?;
    let behind_nat = me.reach.address(family).is_none();
    Some(MeshPeer {
        index,
        public_key: device.public_key,
        endpoint: device.endpoint(family),
        allowed_ips: BTreeSet::new(),
        accepted_ips: BTreeSet::new(),
        keepalive_secs: if behind_nat { limit::KEEPALIVE_SECS } else { 0 },
    })
}

/// The address family by which the resources of two nodes speak directly: one that both speak and in which at least one of them can
/// be reached. IPv6 where both would do.
#[must_use]
pub fn direct(one: &Reach, other: &Reach) -> Option<Family> {
    [Family::Ipv6, Family::Ipv4].into_iter().find(|family| {
        let shared = one.speaks(*family) && other.speaks(*family);
        shared && (one.address(*family).is_some() || other.address(*family).is_some())
    })
}

/// The exit carries everything for which there is no direct peer; everyone else what is its own.
fn carried(network: &NetworkView, peer: &ResourceView) -> BTreeSet<IpNet> {
    if peer.seat == Seat::Exit {
        return BTreeSet::from([IpNet::V6(Ipv6Net::default()), IpNet::V4(Ipv4Net::default())]);
    }
    let derived = Resource::derive(&network.allocation, peer.index);
    BTreeSet::from([
        IpNet::V6(derived.prefix),
        IpNet::V4(derived.prefix_v4),
        IpNet::from(IpNet::V6(derived.wireguard_address).addr()),
        IpNet::from(IpNet::V4(derived.wireguard_address_v4).addr()),
    ])
}

/// The MTU of every device of a network, in bytes: what the narrowest of its direct paths leaves after WireGuard's own
/// bytes (80 over IPv6, 60 over IPv4), and never less than IPv6 demands. One for the whole network, so that nothing
/// need be fragmented or refused on the way by the exit.
#[must_use]
pub fn mtu(network: &NetworkView) -> u16 {
    let mut kinds: Vec<(&Reach, u16, bool)> = Vec::new();
    let places = network.resources.iter().flat_map(|resource| {
        let standbys = resource.standbys.iter().map(|standby| (&standby.reach, standby.mtu));
        standbys.chain([(&resource.reach, resource.mtu)])
    });
    for (reach, nic_mtu) in places {
        match kinds.iter_mut().find(|(first, ..)| same_reach(first, reach)) {
            Some((_, mtu, several)) => (*mtu, *several) = ((*mtu).min(nic_mtu), true),
            None => kinds.push((reach, nic_mtu, false)),
        }
    }
    let paths = kinds.iter().enumerate().flat_map(|(at, (one, mtu, several))| {
        let from = if *several { at } else { at + 1 };
        kinds[from..].iter().filter_map(move |(other, other_mtu, _)| {
            Some((*mtu).min(*other_mtu).saturating_sub(overhead(direct(one, other)?)))
        })
    });
    paths.min().unwrap_or(limit::MTU_MIN).max(limit::MTU_MIN)
}

/// Whether two nodes are reached alike, so that one stands for the other: there are only a few ways to be reached,
/// and pairs of ways are compared instead of pairs of resources.
fn same_reach(one: &Reach, other: &Reach) -> bool {
    [Family::Ipv6, Family::Ipv4].into_iter().all(|family| {
        one.speaks(family) == other.speaks(family)
            && one.address(family).is_some() == other.address(family).is_some()
    })
}

fn overhead(family: Family) -> u16 {
    match family {
        Family::Ipv6 => limit::WIREGUARD_OVERHEAD,
        Family::Ipv4 => limit::WIREGUARD_OVERHEAD_V4,
    }
}
