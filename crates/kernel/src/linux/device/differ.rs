//! Which devices are other than they were last seen: no event tells of a peer, so this is asked over and over.
//!
//! The tunnel process counts the changes of each device and tells all counts at once. The kernel counts nothing: there
//! each device is read, and nothing else of its namespace.

use std::collections::{BTreeMap, BTreeSet};

use sixfold_core::name::IfName;
use sixfold_core::state::{LinkKind, Namespace, Netns, NodeState};

use super::generic;
use crate::linux::{Linux, wireguard};
use crate::{SocketError, same_devices};

impl Linux {
    pub(in crate::linux) fn find_differing_devices(
        &mut self,
        seen: &NodeState,
        netnss: &BTreeSet<Netns>,
    ) -> BTreeSet<Netns> {
        let Ok(listed) = self.tunnel().list() else { return netnss.clone() };
        let counts: BTreeMap<IfName, u32> =
            listed.into_iter().map(|listed| (listed.name, listed.changes)).collect();
        let mut differing = BTreeSet::new();
        for netns in netnss {
            let Some(there) = seen.namespaces.get(netns) else { continue };
            let mut links = there.links.iter();
            let hosted = links.any(|(name, link)| {
                matches!(link.kind, LinkKind::Tun { .. }) && counts.get(name) != self.changes.get(name)
            });
            if hosted || !self.has_kernel_devices_of(netns, there).unwrap_or(false) {
                differing.insert(netns.clone());
            }
        }
        differing
    }

    /// Whether the kernel's own devices are those of `seen`.
    fn has_kernel_devices_of(&mut self, netns: &Netns, seen: &Namespace) -> Result<bool, SocketError> {
        let is_kernels = |name: &IfName| {
            seen.links.get(name).is_some_and(|link| matches!(link.kind, LinkKind::Wireguard { .. }))
        };
        let names: Vec<IfName> = seen.links.keys().copied().filter(is_kernels).collect();
        if names.is_empty() {
            return Ok(true);
        }
        let family = self.family()?;
        if self.handles.get(netns).is_err() {
            return Ok(false);
        }
        let Some(socket) = generic(&mut self.handles, netns)? else { return Ok(false) };
        let mut now = Namespace::default();
        for name in &names {
            let held = wireguard::get(socket, family, name)?;
            now.devices.extend(held.device.map(|device| (*name, device)));
            now.peers.extend(held.peers);
        }
        let mut before = Namespace::default();
        (before.devices, before.peers) = (seen.devices.clone(), seen.peers.clone());
        before.devices.retain(|name, _| names.contains(name));
        before.peers.retain(|key, _| names.contains(&key.link));
        Ok(same_devices(&before, &now))
    }
}
