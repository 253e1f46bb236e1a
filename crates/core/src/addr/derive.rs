//! From an index, a slot or a workload number to every name and address.
//!
//! Owns: the table of addressing.md, "Names and addresses" and "MAC addresses and neighbours", one field per row; no
//! other file computes one of these. Must not choose anything: the same numbers always give the same result.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::{Allocation, PrefixIndex};
use crate::id::{ExitSlot, WorkloadNumber};
use crate::mac::Mac;
use crate::name::{self, IfName, NetnsName};

/// `fe80::1/64`: on every `port-K`, so that every workload has the same default gateway.
pub const PORT_ADDRESS: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), 64);

/// `fe80::1`: the upstream router on the segment, unless the farm file says otherwise.
pub const UPSTREAM: Ipv6Addr = PORT_ADDRESS.addr();

/// `10.1.0.1`: on every gateway's `lo`, so that an IPv4 traceroute shows it.
pub const GATEWAY_LOOPBACK_V4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);

/// `64:ff9b:1::/96`: where IPv4 addresses are found by workloads that speak IPv6 alone, of the range that RFC 8215 sets apart for
/// whoever translates for himself.
pub const TRANSLATED: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 96);

/// Where a workload that speaks IPv6 alone finds an IPv4 address, and is found to be called by it.
#[must_use]
pub fn translated(address: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(TRANSLATED.network().to_bits() | u128::from(address.to_bits()))
}

/// `02:6f`: locally administered, and the same for every link of ours.
const fn mac(a: u8, b: u8, c: u8, role: u8) -> Mac {
    Mac([0x02, 0x6f, a, b, c, role])
}

/// `fe80::A:B:C:D/64`.
fn link_local([a, b, c, d]: [u16; 4]) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, a, b, c, d), 64)
}

/// Everything of one network resource; an exit point is one too, and has the fields named so besides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// `i`.
    pub index: PrefixIndex,
    /// `$P:NIB::/64`: its prefix.
    pub prefix: Ipv6Net,
    /// `10.h.l.0/24`: its IPv4 prefix.
    pub prefix_v4: Ipv4Net,
    /// `net-NIB-n`: its namespace.
    pub netns: NetnsName,
    /// `wg-NIB-n` (WGName).
    pub wireguard: IfName,
    /// `fe80::NIB/64` (WGLL).
    pub wireguard_address: Ipv6Net,
    /// `10.255.h.l/16` (WGIP4RT): a peer's allowed IP is its /32.
    pub wireguard_address_v4: Ipv4Net,
    /// `i`: the UDP port that is asked for.
    pub wireguard_port: u16,
    /// `$P:NIB::1` (NRLocalIP6): /128 on `lo`, or /64 on [`Resource::local`] with a bridge.
    pub local_address: Ipv6Addr,
    /// `10.h.l.1` (NRLocalIP4): /32 on `lo` and the ports, or /24 on [`Resource::local`] with a bridge.
    pub local_address_v4: Ipv4Addr,
    /// `br-NIB-n`: the bridge in the host's namespace, if an attachment asks for one.
    pub bridge: IfName,
    /// `veth-NIB-n` (NRLocalName): the resource's link to its bridge.
    pub local: IfName,
    /// `pub-NIB-n` (EPPubName): the exit point's link to its gateway.
    pub exit_public: IfName,
    /// `fe80::NIB:1/64` (EPPubLL).
    pub exit_public_address: Ipv6Net,
    /// The MAC of [`Resource::exit_public`].
    pub exit_public_mac: Mac,
    /// `10.255.h.l` (EPPubIP4R): /32 on the exit point's `lo`.
    pub exit_loopback_v4: Ipv4Addr,
    /// `to-NIB-n` (GWtoEPName): the gateway's link to the exit point.
    pub to_exit: IfName,
    /// `fe80::1:NIB/64` (GWtoEPLL): by this the exit point knows its default gateway, for both families. On no link.
    pub to_exit_address: Ipv6Net,
    /// The MAC of [`Resource::to_exit`].
    pub to_exit_mac: Mac,
}

impl Resource {
    /// Derives everything of one resource.
    #[must_use]
    pub fn derive(allocation: &Allocation, index: PrefixIndex) -> Self {
        let (i, h, l, n) = (index.get(), index.high(), index.low(), allocation.number());
        Self {
            index,
            prefix: allocation.prefix(index),
            prefix_v4: Ipv4Net::new_assert(Ipv4Addr::new(10, h, l, 0), 24),
            netns: name::netns_resource(i, n),
            wireguard: name::wireguard(i, n),
            wireguard_address: link_local([0, 0, 0, i]),
            wireguard_address_v4: Ipv4Net::new_assert(Ipv4Addr::new(10, 255, h, l), 16),
            wireguard_port: i,
            local_address: allocation.address(i, [0, 0, 0, 1]),
            local_address_v4: Ipv4Addr::new(10, h, l, 1),
            bridge: name::bridge(i, n),
            local: name::local(i, n),
            exit_public: name::exit_public(i, n),
            exit_public_address: link_local([0, 0, i, 1]),
            exit_public_mac: mac(h, l, 0, 2),
            exit_loopback_v4: Ipv4Addr::new(10, 255, h, l),
            to_exit: name::gateway_to_exit(i, n),
            to_exit_address: link_local([0, 0, 1, i]),
            to_exit_mac: mac(h, l, 0, 1),
        }
    }

    /// `$P:NIB::ffff`: in the resource's prefix, and nobody's, as workloads' numbers end below it. Whoever sends there is told by
    /// [`Resource::local_address`] that it leads nowhere.
    #[must_use]
    pub const fn nobody(&self) -> Ipv6Addr {
        let [p, q, r, i, ..] = self.local_address.segments();
        Ipv6Addr::new(p, q, r, i, 0, 0, 0, 0xffff)
    }
}

/// Everything of the gateway of one exit slot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gateway {
    /// `X`.
    pub slot: ExitSlot,
    /// `$P:X000::/52`: what the upstream router sends to it.
    pub slice: Ipv6Net,
    /// `gw-X-n`: its namespace.
    pub netns: NetnsName,
    /// `pub-X-n` (GWPubName): its link to the segment.
    pub public: IfName,
    /// `fe80::X000:0:M:1/64` with M = n-1 (GWPubLL).
    pub public_link_local: Ipv6Net,
    /// `$P::X000:0:0:1/64` (GWPubIP6).
    pub public_address: Ipv6Net,
    /// The MAC of [`Gateway::public`]: it moves with the slot.
    pub public_mac: Mac,
    /// `fe80::X000:0:M:2/64`: of a slot with two next hops, where the second one is.
    pub second_link_local: Ipv6Net,
    /// `$P::X000:0:0:2/64`: the same.
    pub second_address: Ipv6Net,
    /// The MAC of [`Gateway::public`] on the node that is the second next hop alone.
    pub second_mac: Mac,
}

impl Gateway {
    /// Derives everything of one slot's gateway.
    #[must_use]
    pub fn derive(allocation: &Allocation, slot: ExitSlot) -> Self {
        let (x, n) = (u16::from(slot.get()) << 12, allocation.number());
        let [n_high, n_low] = n.get().to_be_bytes();
        Self {
            slot,
            slice: allocation.slice(slot),
            netns: name::netns_gateway(slot, n),
            public: name::gateway_public(slot, n),
            public_link_local: link_local([x, 0, n.get() - 1, 1]),
            public_address: Self::address_in(allocation.whole(), slot),
            public_mac: mac(n_high, n_low, slot.get(), 1),
            second_link_local: link_local([x, 0, n.get() - 1, 2]),
            second_address: Self::second_in(allocation.whole(), slot),
            second_mac: mac(n_high, n_low, slot.get(), 2),
        }
    }

    /// `$P:X000::/52`: a slot's part of a /48, which needs no number.
    #[must_use]
    pub fn slice_in(allocation: Ipv6Net, slot: ExitSlot) -> Ipv6Net {
        let [p, q, r, ..] = allocation.network().segments();
        Ipv6Net::new_assert(Ipv6Addr::new(p, q, r, u16::from(slot.get()) << 12, 0, 0, 0, 0), 52)
    }

    /// `$P::1/64`: the upstream router on the segment, which needs no number.
    #[must_use]
    pub fn router_in(allocation: Ipv6Net) -> Ipv6Net {
        let [p, q, r, ..] = allocation.network().segments();
        Ipv6Net::new_assert(Ipv6Addr::new(p, q, r, 0, 0, 0, 0, 1), 64)
    }

    /// `$P::X000:0:0:1/64` (GWPubIP6), which needs no number: a farm file is checked before its /48s have theirs.
    #[must_use]
    pub fn address_in(allocation: Ipv6Net, slot: ExitSlot) -> Ipv6Net {
        Self::next_hop_in(allocation, slot, 1)
    }

    /// `$P::X000:0:0:2/64`, likewise.
    #[must_use]
    pub fn second_in(allocation: Ipv6Net, slot: ExitSlot) -> Ipv6Net {
        Self::next_hop_in(allocation, slot, 2)
    }

    fn next_hop_in(allocation: Ipv6Net, slot: ExitSlot, which: u16) -> Ipv6Net {
        let [p, q, r, ..] = allocation.network().segments();
        Ipv6Net::new_assert(Ipv6Addr::new(p, q, r, 0, u16::from(slot.get()) << 12, 0, 0, which), 64)
    }
}

/// Everything of one workload of a network resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// `k`.
    pub number: WorkloadNumber,
    /// `port-K`: the near end, in the resource's namespace.
    pub port: IfName,
    /// `load-NIB-n-K`: the workload's own namespace, where the agent makes it.
    pub netns: NetnsName,
    /// `$P:NIB::k`, a /128.
    pub address: Ipv6Addr,
    /// `10.h.l.k`, a /32.
    pub address_v4: Ipv4Addr,
    /// The MAC of [`Workload::port`].
    pub near_mac: Mac,
    /// The MAC of the workload's own end.
    pub far_mac: Mac,
}

impl Workload {
    /// Derives everything of one workload.
    #[must_use]
    pub fn derive(allocation: &Allocation, index: PrefixIndex, number: WorkloadNumber) -> Self {
        let (i, h, l, k) = (index.get(), index.high(), index.low(), number.get());
        Self {
            number,
            port: name::port(number),
            netns: name::netns_workload(i, allocation.number(), number),
            address: allocation.address(i, [0, 0, 0, u16::from(k)]),
            address_v4: Ipv4Addr::new(10, h, l, k),
            near_mac: mac(h, l, k, 3),
            far_mac: mac(h, l, k, 4),
        }
    }
}
