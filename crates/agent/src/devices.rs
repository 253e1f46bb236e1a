//! This node's own WireGuard devices: their keys from the store, their ports from the kernel.
//!
//! Owns: putting the two together, for `desire` and for the status. The kernel is the truth about a port: what is
//! remembered could be another device's by now. Must not see a private key.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::SystemTime;

use sixfold_core::addr::Resource;
use sixfold_core::desire::{self, Own, OwnDevice, Roles};
use sixfold_core::key::PublicKey;
use sixfold_core::model::{
    DeviceReport, DeviceStatus, PeerPath, PeerStatus, Reach, ResourceKey, ResourceView, Seat, SessionStatus,
    Snapshot,
};
use sixfold_core::name::{self, IfName};
use sixfold_core::state::{Device, Endpoint, Netns, NodeState, Peer, PeerKey};

use crate::keys::{KeyStore, KeyStoreError};
use crate::pass::Ground;

/// Peers that a status tells of: with all else it stays under what a registry takes.
const PEERS_MAX: usize = 1000;

/// Resources whose key cannot be used, each with the reason.
pub(crate) type KeyFailures = Vec<(ResourceKey, KeyStoreError)>;

struct Site {
    netns: Netns,
    link: IfName,
    public_key: Option<PublicKey>,
}

/// The devices that a snapshot asks for here.
pub(crate) struct Devices {
    sites: BTreeMap<ResourceKey, Site>,
    reach: Reach,
}

impl Devices {
    /// Finds the devices of a snapshot and gives each its key.
    pub(crate) fn of(
        snapshot: &Snapshot,
        mut key_of: impl FnMut(ResourceKey) -> Result<PublicKey, KeyStoreError>,
    ) -> (Self, KeyFailures) {
        let allocations: BTreeMap<_, _> = snapshot
            .networks
            .iter()
            .map(|network| (network.allocation.number(), network.allocation))
            .collect();
        let (mut sites, mut failed) = (BTreeMap::new(), Vec::new());
        for key in desire::own_resources(snapshot) {
            let Some(allocation) = allocations.get(&key.number) else { continue };
            let derived = Resource::derive(allocation, key.index);
            let public_key = key_of(key).map_err(|error| failed.push((key, error))).ok();
            let (netns, link) = (Netns::Named(derived.netns), derived.wireguard);
            sites.insert(key, Site { netns, link, public_key });
        }
        (Self { sites, reach: snapshot.node.reach().clone() }, failed)
    }

    /// What only the node knows, by the last observation. A device that runs keeps running when its key file cannot be
    /// used: nothing is taken away from a tenant because of a mode.
    pub(crate) fn own(
        &self,
        observed: &NodeState,
        ground: Ground,
        (roles, heard): (Roles, &BTreeMap<PeerKey, SocketAddr>),
    ) -> Own {
        let devices = self.sites.iter().filter_map(|(key, site)| {
            let there = site.there(observed);
            let public_key = site.public_key.or(there.map(|device| device.public_key))?;
            let listen_port = there.map(|device| device.listen_port).filter(|port| *port != 0);
            // One that is not there yet will ask for this: if it gets it, nothing is desired otherwise.
            let listen_port = listen_port.or(Some(key.index.get()));
            Some((*key, OwnDevice { public_key, listen_port }))
        });
        Own {
            backend: ground.backend,
            bridge_netfilter: ground.bridge_netfilter,
            devices: devices.collect(),
            roles,
            calls: self.calls(observed, heard),
        }
    }

    /// Which of these peers to call: those that are not there yet, or are called already. What has or had a session has
    /// no need of it.
    fn calls(
        &self,
        observed: &NodeState,
        heard: &BTreeMap<PeerKey, SocketAddr>,
    ) -> BTreeMap<PeerKey, SocketAddr> {
        if heard.is_empty() {
            return BTreeMap::new();
        }
        let sites: BTreeMap<IfName, &Site> = self.sites.values().map(|site| (site.link, site)).collect();
        let is_new = |(key, at): &(&PeerKey, &SocketAddr)| {
            let Some(site) = sites.get(&key.link) else { return false };
            let is_called = |peer: &Peer| peer.endpoint == Endpoint::At(**at) && peer.keepalive_secs != 0;
            site.peer(observed, key.public_key).is_none_or(is_called)
        };
        heard.iter().filter(is_new).map(|(key, at)| (key.clone(), *at)).collect()
    }

    /// What peers need to know of the devices that are there.
    pub(crate) fn report(&self, observed: &NodeState) -> Vec<DeviceStatus> {
        let there = self.sites.iter().filter_map(|(key, site)| {
            let Device { public_key, listen_port, .. } = *site.there(observed)?;
            let ready = site.public_key.is_none_or(|wanted| wanted == public_key) && listen_port != 0;
            let report = DeviceReport::new(public_key, listen_port, &self.reach);
            ready.then_some(DeviceStatus { resource: *key, report })
        });
        there.collect()
    }

    /// How each other resource of a network is reached from each device here: as a peer, or by way of the exit point. Of
    /// more than [`PEERS_MAX`] the first are told of.
    pub(crate) fn peers(
        &self,
        snapshot: &Snapshot,
        observed: &NodeState,
        counted: impl Fn(&PeerKey) -> (Option<SessionStatus>, bool),
    ) -> Vec<PeerStatus> {
        let mut all = Vec::new();
        for network in &snapshot.networks {
            let resources = || network.resources.iter();
            let key_of = |resource: &ResourceView| resource.device.as_ref().map(|device| device.public_key);
            let exit = resources().find(|resource| resource.seat == Seat::Exit).and_then(key_of);
            for own in resources().filter(|resource| resource.node == *snapshot.node.id()) {
                let resource = ResourceKey { number: network.allocation.number(), index: own.index };
                let Some(site) = self.sites.get(&resource) else { continue };
                let peer = |key| site.peer(observed, key);
                for other in resources().filter(|other| other.index != own.index) {
                    let key = key_of(other);
                    let direct = key.and_then(peer).map(|peer| (PeerPath::Direct, peer));
                    let by_exit = || Some((PeerPath::Exit, exit.and_then(peer)?));
                    let Some((path, peer)) = direct.or_else(by_exit) else { continue };
                    if all.len() == PEERS_MAX {
                        return all;
                    }
                    let alive = matches!(peer.endpoint, Endpoint::Live(_));
                    let public_key = key.filter(|_| path == PeerPath::Direct);
                    let key = public_key.map(|public_key| PeerKey { link: site.link, public_key });
                    let (session, silent) = key.as_ref().map(&counted).unwrap_or_default();
                    let (peer, node) = (other.index, other.node.clone());
                    all.push(PeerStatus { resource, peer, node, path, alive, silent, session });
                }
            }
        }
        all
    }

    /// Puts aside the keys of resources that are neither asked for nor there any more: in this order, so that a device is
    /// never without its key. Deletes those put aside long ago.
    pub(crate) fn retire(&self, keys: &mut KeyStore, observed: &NodeState) -> KeyFailures {
        let (kept, is_new) = match keys.lately_kept() {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!(%error, "cannot look for keys of resources that are gone");
                return Vec::new();
            }
        };
        let is_gone = |key: &&ResourceKey| !self.sites.contains_key(key) && !is_there(**key, observed);
        let gone: Vec<ResourceKey> = kept.iter().filter(is_gone).copied().collect();
        let now = SystemTime::now();
        if is_new && let Err(error) = keys.expire(now) {
            tracing::warn!(%error, "a key put aside long ago stays");
        }
        gone.into_iter().filter_map(|key| keys.retire(key, now).err().map(|error| (key, error))).collect()
    }
}

impl Site {
    fn peer<'a>(&self, observed: &'a NodeState, public_key: PublicKey) -> Option<&'a Peer> {
        let key = PeerKey { link: self.link, public_key };
        observed.namespaces.get(&self.netns)?.peers.get(&key)
    }

    fn there<'a>(&self, observed: &'a NodeState) -> Option<&'a Device> {
        observed.namespaces.get(&self.netns)?.devices.get(&self.link)
    }
}

/// Whether the device's link is anywhere.
fn is_there(key: ResourceKey, observed: &NodeState) -> bool {
    let link = name::wireguard(key.index.get(), key.number);
    observed.namespaces.values().any(|namespace| namespace.links.contains_key(&link))
}
