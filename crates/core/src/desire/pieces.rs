//! The pieces that every namespace of ours is put together from: one line each at the place of use.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::mac::Mac;
use crate::name::IfName;
use crate::state::{
    AddressKey, Link, LinkKind, METRIC, METRIC_ABOVE, METRIC_UNDERNEATH, Namespace, NeighbourKey, RouteKey,
    RouteTarget, Same, SysctlName,
};

/// The range that all derived IPv4 lies in.
pub(super) const PRIVATE_V4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8);

/// The whole of each family.
pub(super) const EVERYWHERE: Ipv6Net = Ipv6Net::new_assert(std::net::Ipv6Addr::UNSPECIFIED, 0);
/// The same for IPv4.
pub(super) const EVERYWHERE_V4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0);

/// One address alone, as a prefix of full length.
pub(super) fn host(address: impl Into<IpAddr>) -> IpNet {
    IpNet::from(address.into())
}

/// A link that is up, with its MTU and MAC.
pub(super) fn link(ns: &mut Namespace, name: IfName, kind: LinkKind, (mtu, mac): (u16, Option<Mac>)) {
    ns.links.insert(name, Link { kind, up: true, mtu: Some(mtu), mac });
}

/// An address on a link.
pub(super) fn address(ns: &mut Namespace, link: IfName, address: impl Into<IpNet>) {
    ns.addresses.insert(AddressKey::new(link, address.into()), ());
}

/// An address on a link that only what is bound to it speaks from.
pub(super) fn bound_address(ns: &mut Namespace, link: IfName, address: IpAddr) {
    ns.addresses.insert(AddressKey::bound(link, host(address)), ());
}

/// An `unreachable` route underneath whatever else leads there.
pub(super) fn unreachable(ns: &mut Namespace, destination: impl Into<IpNet>) {
    let key = RouteKey { destination: destination.into(), metric: METRIC_UNDERNEATH };
    ns.routes.insert(key, RouteTarget::Unreachable);
}

/// A route to a target.
pub(super) fn route(ns: &mut Namespace, destination: impl Into<IpNet>, target: RouteTarget) {
    ns.routes.insert(RouteKey { destination: destination.into(), metric: METRIC }, target);
}

/// A route before the kernel's own of the same destination.
pub(super) fn route_above(ns: &mut Namespace, destination: impl Into<IpNet>, target: RouteTarget) {
    ns.routes.insert(RouteKey { destination: destination.into(), metric: METRIC_ABOVE }, target);
}

/// A route straight to a link.
pub(super) fn route_by_link(ns: &mut Namespace, destination: impl Into<IpNet>, link: IfName) {
    route(ns, destination, RouteTarget::Link(link));
}

/// Both defaults by one IPv6 router: IPv4 goes by an IPv6 next hop, so these links need no ARP.
pub(super) fn defaults_by(ns: &mut Namespace, gateway: IpAddr, link: IfName) {
    let target = RouteTarget::Via { gateway, link };
    route(ns, EVERYWHERE, target.clone());
    route(ns, EVERYWHERE_V4, target);
}

/// A neighbour that is known and not learned.
pub(super) fn neighbour(ns: &mut Namespace, link: IfName, address: impl Into<IpAddr>, mac: Mac) {
    ns.neighbours.insert(NeighbourKey { link, address: address.into() }, mac);
}

/// The sysctls of the kinds of namespace there are, made once for all of a kind.
pub(super) struct Sysctls {
    /// No address that we do not give, nothing learned from router advertisements or redirects, no duplicate address
    /// detection (each derived address is unique), no source check by routing (the firewall's is strict and serves both
    /// families).
    pub(super) quiet: Set,
    /// The same on a segment of others: whoever knew an address by another MAC hears of this one when the link comes up, and need
    /// not find out, which takes a router half a minute.
    pub(super) announced: Set,
    /// The same, of one that forwards.
    pub(super) announced_forwarding: Set,
    /// Of one that forwards, where all neighbours are known: it answers no ARP, and so learns nobody who asks.
    pub(super) no_arp: Set,
}

type Set = Same<BTreeMap<SysctlName, String>>;

impl Sysctls {
    pub(super) fn new(bridge_netfilter: bool) -> Self {
        let quiet = quiet();
        let (mut announced, mut no_arp) = (quiet.clone(), quiet.clone());
        forwards(&mut no_arp, bridge_netfilter);
        sysctl(&mut no_arp, "net/ipv4/conf/all/arp_ignore", 8);
        sysctl(&mut announced, "net/ipv4/conf/all/arp_notify", 1);
        sysctl(&mut announced, "net/ipv6/conf/all/ndisc_notify", 1);
        let mut announced_forwarding = announced.clone();
        forwards(&mut announced_forwarding, bridge_netfilter);
        Self { quiet, announced, announced_forwarding, no_arp }
    }
}

fn forwards(set: &mut Set, bridge_netfilter: bool) {
    sysctl(set, "net/ipv4/ip_forward", 1);
    sysctl(set, "net/ipv6/conf/all/forwarding", 1);
    sysctl(set, "net/ipv6/conf/default/forwarding", 1);
    if bridge_netfilter {
        for family in ["arp", "ip", "ip6"] {
            sysctl(set, &format!("net/bridge/bridge-nf-call-{family}tables"), 0);
        }
    }
}

fn quiet() -> Set {
    let mut set = Set::default();
    for scope in ["all", "default"] {
        sysctl(&mut set, &format!("net/ipv6/conf/{scope}/accept_ra"), 0);
        sysctl(&mut set, &format!("net/ipv6/conf/{scope}/accept_redirects"), 0);
        sysctl(&mut set, &format!("net/ipv4/conf/{scope}/accept_redirects"), 0);
        sysctl(&mut set, &format!("net/ipv4/conf/{scope}/send_redirects"), 0);
        sysctl(&mut set, &format!("net/ipv4/conf/{scope}/rp_filter"), 0);
    }
    sysctl(&mut set, "net/ipv6/conf/default/accept_dad", 0);
    sysctl(&mut set, "net/ipv6/conf/default/autoconf", 0);
    sysctl(&mut set, "net/ipv6/conf/default/addr_gen_mode", 1);
    set
}

fn sysctl(set: &mut Set, name: &str, value: u8) {
    set.insert(SysctlName(name.to_owned()), value.to_string());
}

/// Begins a namespace of ours: its loopback, and sysctls.
pub(super) fn begin<'a>(ns: &'a mut Namespace, sysctls: &Set) -> &'a mut Namespace {
    ns.links = Namespace::fresh().links;
    ns.sysctls = sysctls.clone();
    ns
}
