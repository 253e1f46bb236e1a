//! The pieces that every place around the nodes is put together from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sixfold_core::name::{IfName, NetnsName};
use sixfold_core::state::{
    AddressKey, Link, LinkEnd, LinkKind, METRIC, METRIC_UNDERNEATH, Namespace, Netns, NodeState, RouteKey,
    RouteTarget, SysctlName,
};

/// The upper end's address on a cable between routers.
pub(super) const UP: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xc, 1), 64);
/// The lower end's.
pub(super) const DOWN: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xc, 2), 64);
/// The whole of each family.
pub(super) const EVERYWHERE: [IpNet; 2] = [
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)),
];

/// MTU of every cable that the farm file says nothing of, in bytes.
pub(super) const MTU: u16 = 1500;

/// A namespace in which nothing is learned, and no address is that is not given. Nothing waits: no detection of
/// duplicates.
pub(super) fn place(state: &mut NodeState, name: NetnsName) -> &mut Namespace {
    let namespace = state.namespaces.entry(Netns::Named(name)).or_insert_with(Namespace::fresh);
    for scope in ["all", "default"] {
        for (family, name) in [
            (6, "accept_ra"),
            (6, "accept_redirects"),
            (4, "accept_redirects"),
            (4, "send_redirects"),
            (4, "rp_filter"),
        ] {
            sysctl(namespace, &format!("net/ipv{family}/conf/{scope}/{name}"), 0);
        }
    }
    for (name, value) in [("accept_dad", 0), ("autoconf", 0), ("addr_gen_mode", 1)] {
        sysctl(namespace, &format!("net/ipv6/conf/default/{name}"), value);
    }
    namespace
}

/// A place that sends on what is not for itself.
pub(super) fn forwarding(namespace: &mut Namespace) {
    for name in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv6/conf/default/forwarding"] {
        sysctl(namespace, name, 1);
    }
}

/// A router that sends all packets of one connection by one of several next hops, and another's by another.
pub(super) fn by_flow(namespace: &mut Namespace) {
    sysctl(namespace, "net/ipv6/fib_multipath_hash_policy", 1);
}

fn sysctl(namespace: &mut Namespace, name: &str, value: u8) {
    namespace.sysctls.insert(SysctlName(name.to_owned()), value.to_string());
}

/// A cable between two places that are drawn, or will be.
pub(super) fn cable(state: &mut NodeState, one: (NetnsName, IfName), other: (NetnsName, IfName), mtu: u16) {
    for ((netns, name), (far, link)) in [(one, other), (other, one)] {
        let peer = LinkEnd { netns: Netns::Named(far), link };
        let link = Link { kind: LinkKind::Veth { peer }, up: true, mtu: Some(mtu), mac: None };
        place(state, netns).links.insert(name, link);
    }
}

pub(super) fn address(namespace: &mut Namespace, link: IfName, address: impl Into<IpNet>) {
    namespace.addresses.insert(AddressKey::new(link, address.into()), ());
}

pub(super) fn route(namespace: &mut Namespace, destination: impl Into<IpNet>, via: (IpAddr, IfName)) {
    let (gateway, link) = via;
    to(namespace, (destination, METRIC), RouteTarget::Via { gateway, link });
}

pub(super) fn on_link(namespace: &mut Namespace, destination: impl Into<IpNet>, link: IfName) {
    to(namespace, (destination, METRIC), RouteTarget::Link(link));
}

/// Underneath whatever else leads there.
pub(super) fn unreachable(namespace: &mut Namespace, destination: impl Into<IpNet>) {
    to(namespace, (destination, METRIC_UNDERNEATH), RouteTarget::Unreachable);
}

fn to(namespace: &mut Namespace, (destination, metric): (impl Into<IpNet>, u32), target: RouteTarget) {
    namespace.routes.insert(RouteKey { destination: destination.into().trunc(), metric }, target);
}
