//! The header in front of each packet.

use super::Malformed;
use super::transport::{TCP, Transport, UDP};

/// Its length in bytes.
pub const HEADER_LEN: usize = 10;

const NEEDS_CHECKSUM: u8 = 1;
const NO_GSO: u8 = 0;
const TCP_V4: u8 = 1;
const TCP_V6: u8 = 4;
const UDP_L4: u8 = 5;

/// What is said of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    pub(super) flags: u8,
    pub(super) gso_type: u8,
    /// Length of all headers, in bytes: a hint.
    pub(super) header_len: u16,
    /// Payload of each packet but the last, in bytes.
    pub(super) gso_size: u16,
    /// Where the bytes begin that the checksum is of.
    pub(super) checksum_start: u16,
    /// Where the checksum stands, from there.
    pub(super) checksum_offset: u16,
}

impl Header {
    /// Reads it from where a TUN put it.
    pub fn read(bytes: &[u8; HEADER_LEN]) -> Self {
        let number = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        Self {
            flags: bytes[0],
            gso_type: bytes[1],
            header_len: number(2),
            gso_size: number(4),
            checksum_start: number(6),
            checksum_offset: number(8),
        }
    }

    /// As a TUN takes it.
    pub fn bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = self.flags;
        bytes[1] = self.gso_type;
        let numbers = [self.header_len, self.gso_size, self.checksum_start, self.checksum_offset];
        for (pair, number) in bytes[2..].chunks_exact_mut(2).zip(numbers) {
            pair.copy_from_slice(&number.to_ne_bytes());
        }
        bytes
    }

    pub(super) const fn needs_checksum(&self) -> bool {
        self.flags & NEEDS_CHECKSUM != 0
    }

    /// The protocol of the packets that a super-packet is cut into; none if it is one packet.
    ///
    /// # Errors
    /// For what was not asked for.
    pub(super) const fn protocol(&self) -> Result<Option<u8>, Malformed> {
        match self.gso_type {
            NO_GSO => Ok(None),
            TCP_V4 | TCP_V6 => Ok(Some(TCP)),
            UDP_L4 => Ok(Some(UDP)),
            _ => Err(Malformed),
        }
    }

    /// Of packets of one flow, each of which but the last carries so many bytes.
    pub(super) fn of(flow: &Transport, payload: usize) -> Self {
        let gso_type = match (flow.protocol, flow.is_v6) {
            (TCP, false) => TCP_V4,
            (TCP, true) => TCP_V6,
            _ => UDP_L4,
        };
        // Offsets in a packet, whose length is 16 bits.
        let short = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
        Self {
            flags: NEEDS_CHECKSUM,
            gso_type,
            header_len: short(flow.payload),
            gso_size: short(payload),
            checksum_start: short(flow.start),
            checksum_offset: short(flow.checksum() - flow.start),
        }
    }
}
