//! Netlink as it lies in memory: what any answer is taken apart with, and what a request is put together with.
//!
//! Answers are read attribute by attribute, only those that count: a kernel newer than the packet crates' types must
//! not blind us because of a field that nobody asked for. Must not know of any protocol above netlink.

use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NLM_F_ACK, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable};

/// Bytes of `nlmsghdr`.
const HEADER: usize = 16;

/// Bytes that most requests of ours fit.
const USUAL: usize = 96;

/// Kind of the message that ends a dump.
pub(crate) const DONE: u16 = 3;
/// Kind of an acknowledgement or refusal.
pub(crate) const ERROR: u16 = 2;

/// One message of a datagram.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    /// The socket that asked for what a notification tells; 0: the kernel did it by itself.
    pub(crate) asker: u32,
    pub(crate) payload: &'a [u8],
}

/// The messages of a datagram, up to the first that is not whole.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = number(bytes.get(..4)?)? as usize;
        let message = bytes.get(..length).filter(|message| message.len() >= HEADER)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message {
            kind: short(&message[4..6])?,
            flags: short(&message[6..8])?,
            sequence: number(&message[8..12])?,
            asker: number(&message[12..16])?,
            payload: &message[HEADER..],
        })
    })
}

/// The attributes after a fixed header of `skip` bytes: kind (without the flags in its top bits) and value.
pub(crate) fn attributes(bytes: &[u8], skip: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes.get(skip..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(short(rest.get(..2)?)?);
        let kind = short(rest.get(2..4)?)? & 0x3fff;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// What a request is called where requests are counted.
pub(crate) fn title(request: &[u8]) -> impl Display + '_ {
    fmt::from_fn(|f| write!(f, "netlink request of kind {}", request.get(4..6).and_then(short).unwrap_or(0)))
}

/// A `u16` in the machine's order.
pub(crate) fn short(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?))
}

/// A `u32` in the machine's order.
pub(crate) fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?))
}

/// The `u64` at that place of an array, in the machine's order.
pub(crate) fn long(array: &[u8], place: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(array.get(8 * place..)?.get(..8)?.try_into().ok()?))
}

/// A text, without the zero that ends it.
pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().map(|text| text.trim_end_matches('\0'))
}

/// An address by its length: 4 or 16 bytes.
pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(bytes).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).into())
}

/// A request from a typed message. Its sequence number is the socket's to set.
pub(crate) fn request<M: NetlinkSerializable>(message: M, flags: u16) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// A request for which there is no type: header and attributes are given as they are sent.
pub(crate) fn raw_request(kind: u16, flags: u16, header: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL);
    bytes.resize(HEADER, 0);
    bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
    bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
    bytes.extend(header);
    for (kind, value) in attributes {
        let length = u16::try_from(4 + value.len()).expect("attributes of ours are short");
        bytes.extend(length.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(*value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    let length = u32::try_from(bytes.len()).expect("requests of ours are short");
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    bytes
}

/// Says whether a request is to be answered if it is done: a refusal always is.
pub(crate) fn set_acknowledged(request: &mut [u8], acknowledged: bool) {
    let flags = u16::from_ne_bytes([request[6], request[7]]) & !NLM_F_ACK;
    let flags = if acknowledged { flags | NLM_F_ACK } else { flags };
    request[6..8].copy_from_slice(&flags.to_ne_bytes());
}

/// Numbers a request.
pub(crate) fn set_sequence(request: &mut [u8], sequence: u32) {
    request[8..12].copy_from_slice(&sequence.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_reads_as_it_was_written() {
        let mut bytes = raw_request(104, 5, &[1, 2, 3, 4], &[(1, &[7, 0, 0, 0]), (6, b"abcde")]);
        set_sequence(&mut bytes, 9);
        let message = messages(&bytes).next().unwrap();
        assert_eq!((message.kind, message.flags, message.sequence), (104, 5, 9));
        let found: Vec<_> = attributes(message.payload, 4).collect();
        assert_eq!(found, [(1, &[7, 0, 0, 0][..]), (6, &b"abcde"[..])]);
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_read_without_panic_and_comes_to_an_end(bytes: Vec<u8>) {
            for message in messages(&bytes) {
                for (_, value) in attributes(message.payload, 4) {
                    let _ = (number(value), text(value), address(value));
                }
            }
            proptest::prop_assert!(attributes(&bytes, 0).count() <= bytes.len());
        }
    }
}
