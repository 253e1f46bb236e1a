//! The stamps of our handshakes. A peer takes none that is not later than the last it took from us; the library begins with the
//! wall clock when it makes a session, and counts on from there. A machine that starts with an old clock and is set right after
//! would be refused as a replay for as long as its process runs: so its sessions are made anew. The clock is an argument.

use super::{Action, Device, Outbox, rouse};
use std::time::Duration;

/// A wall clock that is set by less is left alone: whoever is refused for it is heard again as soon.
const JUMP: Duration = Duration::from_secs(5);

impl Device {
    /// Is told the time since the Unix epoch at `now`; to be called before each tick. Whose session was made before the clock was set
    /// forward gets another one, unless it lives: then once it does no more.
    pub fn follow_clock(&mut self, wall_now: Duration, now: Duration, actions: &mut Vec<Action>) {
        let epoch = wall_now.saturating_sub(now);
        let is_set = self.epoch.is_none_or(|before| before.abs_diff(epoch) > JUMP);
        if is_set {
            self.epoch = Some(epoch);
        } else if !self.is_behind {
            return;
        }
        self.is_behind = false;
        let Some(noise) = self.noise.as_deref() else { return };
        for (key, peer) in &mut self.peers {
            if *peer.stamped_from.get_or_insert(epoch) + JUMP >= epoch {
                continue;
            }
            if peer.session.as_ref().is_some_and(|session| session.is_live(now)) {
                self.is_behind = true;
                continue;
            }
            peer.renew(key, Some(noise), now);
            peer.stamped_from = Some(epoch);
            if !peer.queue.is_empty() {
                rouse(peer, *key, &mut self.active, now);
                let (mtu, indices, traffic) = (self.mtu, &mut self.indices, &mut self.traffic);
                Outbox { key: *key, mtu, indices, traffic, actions }.call(peer, now);
            }
        }
    }
}
