//! How many netlink messages this process has sent to the kernel: questions, changes, and what opens and closes a transaction
//! of nftables. What a pass costs the kernel's locks goes by them, and not by the operations that a plan has.
//!
//! Owns: the count, one for the process. Must not know what the messages say.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::wire;

static SENT: AtomicU64 = AtomicU64::new(0);

/// Netlink messages that this process has sent so far.
#[must_use]
pub fn messages_sent() -> u64 {
    SENT.load(Ordering::Relaxed)
}

/// Counts the messages of one send.
pub(crate) fn count(bytes: &[u8]) {
    SENT.fetch_add(wire::messages(bytes).count() as u64, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_of_a_send_counts() {
        let message = |length: u32| {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.resize((length as usize).next_multiple_of(4), 0);
            bytes
        };
        let before = messages_sent();
        count(&[message(16), message(19), message(32)].concat());
        count(&[]);
        // Other tests of the process send too.
        assert!(messages_sent() - before >= 3);
        assert_eq!(wire::messages(&[message(16), message(19), message(32)].concat()).count(), 3);
    }
}
