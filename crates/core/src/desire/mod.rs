//! A node's whole desired network state, as a pure function of its snapshot and of what only the node itself knows.
//!
//! ```text
//! Snapshot ─┬─ upstream   the namespace `public`, by which tunnels and gateways reach the world
//!           ├─ egress     where the farmer provides it: IPv4 of networks, out at the node itself
//!           ├─ gateway    one namespace for each slot that it may hold
//!           ├─ exit_point a resource of each network whose exit slot it may hold
//!           ├─ resource   one for each network that the tenant placed here, and its workloads
//!           └─ firewall   the rules of each of these
//! ```
//!
//! Knows nothing of what exists: never imports `plan`. An operator that rebuilds a gateway elsewhere calls this same
//! function for another node.

mod egress;
mod exit_point;
mod firewall;
mod gateway;
mod pieces;
mod resource;
mod upstream;
mod workload;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use crate::addr::{PrefixIndex, Resource};
use crate::key::PublicKey;
use crate::limit;
use crate::mesh;
use crate::model::{GatewayView, NetworkView, ResourceKey, Seat, SlotKey, Snapshot};
use crate::name::{self, IfName};
use crate::state::{Backend, Device, Endpoint, LinkKind, Namespace, Netns, NodeState, Peer, PeerKey};
use crate::tenure::Duty;

/// A device of this node's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnDevice {
    /// Of the private key in the key store.
    pub public_key: PublicKey,
    /// The port it got, once it has one.
    pub listen_port: Option<u16>,
}

/// What only the node knows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Who carries WireGuard.
    pub backend: Backend,
    /// Whether the kernel can send bridged frames through the IP hooks: then that is switched off.
    pub bridge_netfilter: bool,
    /// Its devices, by resource. A resource without one gets no device.
    pub devices: BTreeMap<ResourceKey, OwnDevice>,
    /// What it is for its exit slots.
    pub roles: Roles,
    /// Where to call peers that are hidden from here, of devices that are new: they call first, but do not know yet that
    /// there is anything new to call. Nobody else is called by it.
    pub calls: BTreeMap<PeerKey, SocketAddr>,
}

/// What a node is for its exit slots, where that is not what its snapshot says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    /// What it does for those of which a registry says who holds them: it may not have begun yet, or has to stop.
    pub duties: BTreeMap<SlotKey, Duty>,
    /// Whether it is the second next hop of those that have two, alone or beside the first.
    pub seconds: BTreeMap<SlotKey, bool>,
}

impl Own {
    /// A node without devices, whose slots are as its snapshot says.
    #[must_use]
    pub fn of(backend: Backend) -> Self {
        let (devices, calls) = (BTreeMap::new(), BTreeMap::new());
        Self { backend, bridge_netfilter: false, devices, roles: Roles::default(), calls }
    }
}

/// Computes everything that shall be on the node of `snapshot`.
#[must_use]
pub fn desire(snapshot: &Snapshot, own: &Own) -> NodeState {
    let mut state = NodeState::default();
    state.at(Netns::Host);
    let sysctls = pieces::Sysctls::new(own.bridge_netfilter);
    let mut node = Node { snapshot, own, sysctls: &sysctls, state: &mut state };
    node.upstream();
    node.egress();
    for gateway in &snapshot.gateways {
        node.gateway(gateway);
    }
    for network in &snapshot.networks {
        let mtu = mesh::mtu(network);
        for resource in network.resources.iter().filter(|resource| resource.is_on(snapshot.node.id())) {
            match resource.seat {
                Seat::Exit if resource.node != *snapshot.node.id() => {
                    let ready = network.turned_to(snapshot.node.id());
                    node.exit_point(&Site::new(&ready, resource.index, mtu));
                }
                Seat::Exit => node.exit_point(&Site::new(network, resource.index, mtu)),
                Seat::Node(_) => node.resource(&Site::new(network, resource.index, mtu)),
            }
        }
    }
    state
}

/// The resources that this node must have a device and so a key for.
pub fn own_resources(snapshot: &Snapshot) -> impl Iterator<Item = ResourceKey> + '_ {
    snapshot.networks.iter().flat_map(|network| {
        let here = network.resources.iter().filter(|resource| resource.is_on(snapshot.node.id()));
        here.map(|resource| ResourceKey { number: network.allocation.number(), index: resource.index })
    })
}

/// The state under construction.
struct Node<'a> {
    snapshot: &'a Snapshot,
    own: &'a Own,
    sysctls: &'a pieces::Sysctls,
    state: &'a mut NodeState,
}

/// One resource of one network, with all that derives from its index.
struct Site<'a> {
    network: &'a NetworkView,
    derived: Resource,
    mtu: u16,
}

impl<'a> Site<'a> {
    fn new(network: &'a NetworkView, index: PrefixIndex, mtu: u16) -> Self {
        let derived = Resource::derive(&network.allocation, index);
        Self { network, derived, mtu }
    }

    fn key(&self) -> ResourceKey {
        ResourceKey { number: self.network.allocation.number(), index: self.derived.index }
    }

    fn netns(&self) -> Netns {
        Netns::Named(self.derived.netns)
    }

    /// The link by which its IPv4 leaves where its node lets it out.
    fn out(&self) -> IfName {
        name::local_out(self.derived.index.get(), self.network.allocation.number())
    }

    /// The other resources of the network, derived.
    fn others(&self) -> impl Iterator<Item = Resource> + '_ {
        let others = self.network.resources.iter().filter(|other| other.index != self.derived.index);
        others.map(|other| Resource::derive(&self.network.allocation, other.index))
    }
}

impl Node<'_> {
    /// Whether a gateway is its slot's first next hop, and the only one for IPv4.
    fn serves(&self, view: &GatewayView) -> bool {
        self.own.roles.duties.get(&view.key()).map_or_else(|| view.serves(), |duty| *duty != Duty::Rest)
    }

    /// Whether it is the second.
    fn is_second(&self, view: &GatewayView) -> bool {
        let named = || view.second.as_ref() == Some(self.snapshot.node.id());
        self.own.roles.seconds.get(&view.key()).copied().unwrap_or_else(named)
    }

    /// Where UDP sockets of tunnels live: in `public`, or in the host's own namespace on a hidden node.
    fn socket(&self) -> Netns {
        if self.snapshot.node.is_hidden() { Netns::Host } else { Netns::Named(name::netns_public()) }
    }

    /// What the namespace of a resource has, hosting workloads or not: it forwards, its neighbours are all known, and its
    /// own addresses are on the loopback.
    fn router(&mut self, site: &Site<'_>, address_v4: Ipv4Addr) -> &mut Namespace {
        let ns = pieces::begin(self.state.at(site.netns()), &self.sysctls.no_arp);
        pieces::address(ns, name::loopback(), pieces::host(site.derived.local_address));
        pieces::address(ns, name::loopback(), pieces::host(address_v4));
        ns
    }

    /// The WireGuard link of a resource, its device and its peers.
    fn wireguard(&mut self, site: &Site<'_>) {
        let Some(own) = self.own.devices.get(&site.key()) else { return };
        let socket = Some(self.socket());
        let kind = match self.own.backend {
            Backend::Kernel => LinkKind::Wireguard { socket },
            Backend::Tunnel => LinkKind::Tun { socket },
        };
        let link = site.derived.wireguard;
        let ns = self.state.at(site.netns());
        pieces::link(ns, link, kind, (site.mtu, None));
        pieces::address(ns, link, site.derived.wireguard_address);
        pieces::address(ns, link, site.derived.wireguard_address_v4);
        let listen_port = own.listen_port.unwrap_or(site.derived.wireguard_port);
        ns.devices.insert(link, Device { public_key: own.public_key, listen_port, fwmark: 0 });
        for peer in mesh::mesh(site.network, site.derived.index) {
            let key = PeerKey { link, public_key: peer.public_key };
            let called = self.own.calls.get(&key).filter(|_| peer.endpoint.is_none()).copied();
            let endpoint = peer.endpoint.or(called).map_or(Endpoint::Unset, Endpoint::At);
            let accepted_ips = match self.own.backend {
                Backend::Kernel => Default::default(),
                Backend::Tunnel => peer.accepted_ips,
            };
            let allowed_ips = peer.allowed_ips;
            // One is sent at once, and a session begins by it.
            let keepalive_secs = called.map_or(peer.keepalive_secs, |_| limit::KEEPALIVE_SECS);
            let peer = Peer { endpoint, allowed_ips, accepted_ips, keepalive_secs, preshared: false };
            ns.peers.insert(key, peer);
        }
    }

    /// Routes to every other resource of the network by its tunnel, and `unreachable` under each and under 10.0.0.0/8:
    /// an unknown peer means no packet, not a packet somewhere else.
    fn routes_to_network(&mut self, site: &Site<'_>) {
        let tunnel = site.derived.wireguard;
        let has_tunnel = self.own.devices.contains_key(&site.key());
        let ns = self.state.at(site.netns());
        pieces::unreachable(ns, pieces::PRIVATE_V4);
        pieces::unreachable(ns, site.derived.prefix);
        for other in site.others() {
            pieces::unreachable(ns, other.prefix);
            if has_tunnel {
                pieces::route_by_link(ns, other.prefix, tunnel);
                pieces::route_by_link(ns, other.prefix_v4, tunnel);
            }
        }
    }
}
