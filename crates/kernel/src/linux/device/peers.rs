//! Peers: those of one device in one request, and one by one where that is refused, so that each refusal is told of the
//! step it is about.

use sixfold_core::plan::{Op, Step};
use sixfold_core::state::{Netns, Peer, PeerKey};

use super::Carrier;
use crate::ApplyError;
use crate::linux::apply::Run;
use crate::linux::wireguard;

/// Peers in one request: with a dozen prefixes each under a tenth of what the tunnel process reads.
const TOGETHER: usize = 1024;

/// A peer to be as told, or (`None`) not to be.
type Change<'a> = (&'a PeerKey, Option<&'a Peer>);

impl Run<'_> {
    /// All steps about peers. Steps of one stage and namespace, in their order.
    pub(in crate::linux) fn peers(&mut self, steps: &[Step]) {
        let changes: Vec<(&Step, Change<'_>)> =
            steps.iter().filter_map(|step| Some((step, change(&step.op)?))).collect();
        for device in changes.chunk_by(|(_, (a, _)), (_, (b, _))| a.link == b.link) {
            for slice in device.chunks(TOGETHER) {
                let all: Vec<Change<'_>> = slice.iter().map(|(_, change)| *change).collect();
                if slice.len() > 1 && self.change_peers(&slice[0].0.netns, &all).is_ok() {
                    continue;
                }
                for (step, change) in slice {
                    let outcome = self.change_peers(&step.netns, &[*change]);
                    self.settle(step, outcome);
                }
            }
        }
    }

    /// Changes peers of the device of the first. Without a device those that are to go are gone.
    fn change_peers(&mut self, netns: &Netns, changes: &[Change<'_>]) -> Result<(), ApplyError> {
        let [(PeerKey { link, .. }, _), ..] = changes else { return Ok(()) };
        match self.carrier(netns, link) {
            Ok(Carrier::Kernel) => {
                let family = self.linux.family()?;
                let messages = changes.iter().flat_map(|(key, peer)| match peer {
                    Some(peer) => wireguard::set_peer(family, key, peer),
                    None => vec![wireguard::del_peer(family, key)],
                });
                self.ask_device(netns, messages.collect())
            }
            Ok(Carrier::Tunnel { .. }) => {
                let peers = changes.iter().map(|(key, peer)| (&key.public_key, *peer));
                Ok(self.linux.tunnel().set_peers(link, peers)?)
            }
            none => match changes.iter().any(|(_, peer)| peer.is_some()) {
                false => Ok(()),
                true => Err(none.err().unwrap_or(ApplyError::NoLink { link: *link })),
            },
        }
    }
}

fn change(op: &Op) -> Option<Change<'_>> {
    match op {
        Op::SetPeer { key, peer } => Some((key, Some(peer))),
        Op::DelPeer(key) => Some((key, None)),
        _ => None,
    }
}
