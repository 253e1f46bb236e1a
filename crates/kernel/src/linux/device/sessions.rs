//! What devices counted of their peers, whoever carries them.
//!
//! The work is a question for each device that is asked for: who asks says how many at a time.

use std::collections::{BTreeMap, BTreeSet};

use sixfold_core::key::PublicKey;
use sixfold_core::name::IfName;
use sixfold_core::state::{LinkKind, Netns, NodeState, PeerKey};

use super::generic;
use crate::Session;
use crate::linux::{Linux, wireguard};

impl Linux {
    pub(in crate::linux) fn read_sessions(
        &mut self,
        seen: &NodeState,
        netnss: &BTreeSet<Netns>,
    ) -> BTreeMap<PeerKey, Session> {
        let mut all = BTreeMap::new();
        for netns in netnss {
            let Some(there) = seen.namespaces.get(netns) else { continue };
            // A device without a peer counts nothing of one.
            let asked: BTreeSet<IfName> = there.peers.keys().map(|key| key.link).collect();
            for link in asked {
                let sessions = match there.links.get(&link).map(|link| &link.kind) {
                    Some(LinkKind::Tun { .. }) => self.tunnel().sessions(&link).unwrap_or_default(),
                    Some(LinkKind::Wireguard { .. }) => {
                        self.kernel_sessions(netns, &link).unwrap_or_default()
                    }
                    _ => continue,
                };
                let keyed = |(public_key, session)| (PeerKey { link, public_key }, session);
                all.extend(sessions.into_iter().map(keyed));
            }
        }
        all
    }

    fn kernel_sessions(&mut self, netns: &Netns, link: &IfName) -> Option<BTreeMap<PublicKey, Session>> {
        let family = self.family().ok()?;
        self.handles.get(netns).ok()?;
        let socket = generic(&mut self.handles, netns).ok()??;
        wireguard::sessions(socket, family, link).ok()
    }
}
