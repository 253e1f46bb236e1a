//! The header in front of each packet.

/// Its length in bytes.
pub const HEADER_LEN: usize = 10;

const NEEDS_CHECKSUM: u8 = 1;
const NO_GSO: u8 = 0;
const TCP_V4: u8 = 1;
const TCP_V6: u8 = 4;
const UDP: u8 = 5;

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

/// What a super-packet is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is one packet.
    Single,
    Tcp,
    Udp,
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

    /// `None` for a kind that was not asked for.
    pub(super) const fn kind(&self) -> Option<Kind> {
        match self.gso_type {
            NO_GSO => Some(Kind::Single),
            TCP_V4 | TCP_V6 => Some(Kind::Tcp),
            UDP => Some(Kind::Udp),
            _ => None,
        }
    }

    /// Of packets of one flow: the transport's header begins and ends there, and each packet but the last carries so much.
    pub(super) fn of(is_v6: bool, kind: Kind, (start, end): (usize, usize), payload: usize) -> Self {
        let (gso_type, checksum_offset) = match (kind, is_v6) {
            (Kind::Single, _) => return Self::default(),
            (Kind::Tcp, false) => (TCP_V4, super::transport::TCP_CHECKSUM),
            (Kind::Tcp, true) => (TCP_V6, super::transport::TCP_CHECKSUM),
            (Kind::Udp, _) => (UDP, super::transport::UDP_CHECKSUM),
        };
        // Offsets in a packet, whose length is 16 bits.
        let short = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
        Self {
            flags: NEEDS_CHECKSUM,
            gso_type,
            header_len: short(end),
            gso_size: short(payload),
            checksum_start: short(start),
            checksum_offset: short(checksum_offset),
        }
    }
}
