//! Packets that wait for a handshake: a few of each peer, and of all peers of a device together so many, however many do not
//! answer. What goes is the oldest of the same peer, and a peer always has its newest.

use bytes::BytesMut;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Packets of a peer that wait.
pub const QUEUE_PACKETS: usize = 32;
/// Packets of a device's peers that wait, beside one of each: 1.5 MB of them.
pub const QUEUE_PACKETS_OF_ALL: usize = 1024;

/// The packets of one peer.
#[derive(Default)]
pub(super) struct Queue {
    packets: VecDeque<BytesMut>,
    /// How many wait of all peers of the device.
    all: Arc<AtomicUsize>,
}

impl Queue {
    /// One of those that `all` counts.
    pub(super) fn of(all: &Arc<AtomicUsize>) -> Self {
        Self { packets: VecDeque::new(), all: Arc::clone(all) }
    }

    /// Lets a packet wait; tells whether another had to go for it. It is copied: what waits does not hold on to the memory of
    /// all that came with it.
    pub(super) fn push(&mut self, packet: &[u8]) -> bool {
        let all = self.all.load(Ordering::Relaxed);
        let is_full = self.packets.len() >= QUEUE_PACKETS || all >= QUEUE_PACKETS_OF_ALL;
        let has_gone = is_full && self.packets.pop_front().is_some();
        self.packets.push_back(BytesMut::from(packet));
        self.all.fetch_add(usize::from(!has_gone), Ordering::Relaxed);
        has_gone
    }

    /// Takes all, the oldest first.
    pub(super) fn take(&mut self) -> VecDeque<BytesMut> {
        self.all.fetch_sub(self.packets.len(), Ordering::Relaxed);
        std::mem::take(&mut self.packets)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.take();
    }
}
