//! A transaction: its messages, their numbers, and which operation each of them carries out.
//!
//! Owns: the bounds of the batch, and the way from a verdict back to an operation. Must not know what an operation is:
//! that is `compile`.

use super::attr::put_u32;
use super::message::{self, BATCH_BEGIN, BATCH_END, Head, INET, SUBSYSTEM, UNSPEC};

/// A transaction, ready to be sent.
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    first_seq: u32,
    messages: Vec<Sent>,
    last: usize,
}

/// A message of a transaction.
struct Sent {
    /// The operations it carries out, and where in the message each begins (elements share messages).
    parts: Vec<(usize, usize)>,
}

impl Batch {
    /// Begins a transaction with the message of that number, valid for that generation of the ruleset or for any.
    pub(super) fn begin(seq: u32, generation: Option<u32>) -> Self {
        let mut batch = Self { bytes: Vec::new(), first_seq: seq, messages: Vec::new(), last: 0 };
        let head = Head { kind: BATCH_BEGIN, flags: 0, seq, family: UNSPEC, resource: SUBSYSTEM };
        message::put(&mut batch.bytes, head, |out| {
            if let Some(generation) = generation {
                put_u32(out, 1, generation);
            }
        });
        batch
    }

    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Messages between beginning and end.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// The number of the message that is answered.
    pub(super) fn last_seq(&self) -> u32 {
        self.first_seq.wrapping_add(u32::try_from(self.messages.len()).unwrap_or(u32::MAX))
    }

    /// The operation that a verdict is about; `None` if it is about the transaction. Of elements that share a message
    /// the one at the offset, or the first if the kernel does not say.
    pub(super) fn op_at(&self, seq: u32, offset: Option<usize>) -> Option<usize> {
        let place = usize::try_from(seq.wrapping_sub(self.first_seq)).ok()?;
        let parts = &self.messages.get(place.checked_sub(1)?)?.parts;
        let exact = offset.and_then(|offset| parts.iter().rev().find(|(start, _)| *start <= offset));
        exact.or(parts.first()).map(|(_, op)| *op)
    }

    /// Ends the transaction.
    pub(super) fn close(&mut self) {
        if !self.messages.is_empty() {
            message::want_ack(&mut self.bytes, self.last);
        }
        let seq = self.last_seq().wrapping_add(1);
        let head = Head { kind: BATCH_END, flags: 0, seq, family: UNSPEC, resource: SUBSYSTEM };
        message::put(&mut self.bytes, head, |_| {});
    }

    /// Appends a message of one operation.
    pub(super) fn push(&mut self, op: usize, what: (u16, u16), fill: impl FnOnce(&mut Vec<u8>)) {
        self.push_parts(what, |out, _| {
            fill(out);
            vec![(0, op)]
        });
    }

    /// Appends a message; `fill` gets its start and says which operations begin where.
    pub(super) fn push_parts(
        &mut self,
        (kind, flags): (u16, u16),
        fill: impl FnOnce(&mut Vec<u8>, usize) -> Vec<(usize, usize)>,
    ) {
        let seq = self.last_seq().wrapping_add(1);
        let head = Head { kind: SUBSYSTEM << 8 | kind, flags, seq, family: INET, resource: 0 };
        self.last = self.bytes.len();
        let (last, mut parts) = (self.last, Vec::new());
        message::put(&mut self.bytes, head, |out| parts = fill(out, last));
        self.messages.push(Sent { parts });
    }
}
