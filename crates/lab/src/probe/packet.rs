//! The bytes of a probe: the payload by which a packet is known again, and ICMP messages around it.
//!
//! Owns: encoding and decoding, without a socket. Must not decide what an answer means.
//! RFC 792 (ICMP), RFC 4443 (ICMPv6), RFC 1071 (the checksum).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sixfold_core::model::Family;

/// What every probe carries, so that a capture on an underlay link can be searched for it.
pub const MARK: &[u8] = b"sixfold probe, in the clear: ";

/// The length of every payload in bytes: the mark, the nonce and the index, the latter two in hex.
pub(super) const PAYLOAD_BYTES: usize = MARK.len() + 16 + 1 + 4;

const HEADER_BYTES: usize = 8;
const HEADER_V6_BYTES: usize = 40;
const TCP: u8 = 6;
const SYN_OF_SYN_ACK: (u8, u8) = (0x02, 0x12);

/// Which packet of which shot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sign {
    /// The shot's.
    pub nonce: u64,
    /// The packet's position in it, from 0.
    pub index: u16,
}

impl Sign {
    /// The payload that says so.
    pub(super) fn payload(self) -> Vec<u8> {
        let mut bytes = MARK.to_vec();
        bytes.extend_from_slice(format!("{:016x}:{:04x}", self.nonce, self.index).as_bytes());
        bytes
    }

    /// The first payload within bytes, whatever is around it.
    pub(super) fn find(bytes: &[u8]) -> Option<Self> {
        let at = bytes.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
        let text = std::str::from_utf8(bytes.get(at..at + PAYLOAD_BYTES - MARK.len())?).ok()?;
        let (nonce, index) = text.split_once(':')?;
        Some(Self {
            nonce: u64::from_str_radix(nonce, 16).ok()?,
            index: u16::from_str_radix(index, 16).ok()?,
        })
    }
}

/// An ICMP or ICMPv6 message that concerns probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Icmp {
    /// Somebody asks.
    Request(Sign),
    /// Somebody answers.
    Reply(Sign),
    /// A packet came to nothing.
    Error {
        /// The message's type.
        kind: u8,
        /// The message's code.
        code: u8,
        /// Which packet.
        about: About,
    },
}

/// Which packet an error is about: by payload, or a SYN, which has none, by its ports and destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    Sign(Sign),
    Tcp { from_port: u16, to: IpAddr },
}

/// An echo request. The kernel puts in the checksum of an ICMPv6 one, which covers addresses not known here.
pub(super) fn echo_request(family: Family, sign: Sign) -> Vec<u8> {
    let kind = match family {
        Family::Ipv6 => 128,
        Family::Ipv4 => 8,
    };
    let [.., high, low] = sign.nonce.to_be_bytes();
    let [index_high, index_low] = sign.index.to_be_bytes();
    let mut bytes = vec![kind, 0, 0, 0, high, low, index_high, index_low];
    bytes.extend(sign.payload());
    if family == Family::Ipv4 {
        let sum = checksum(&bytes).to_be_bytes();
        bytes[2..4].copy_from_slice(&sum);
    }
    bytes
}

/// The Internet checksum.
pub(super) fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("it was folded to 16 bits")
}

/// Reads what a raw socket received: with its IP header for IPv4, without for IPv6, as the kernel gives it.
pub(super) fn parse_icmp(family: Family, bytes: &[u8]) -> Option<Icmp> {
    let message = transport(family, bytes)?;
    let (kind, code) = (*message.first()?, *message.get(1)?);
    let rest = message.get(HEADER_BYTES..)?;
    match (family, kind) {
        (Family::Ipv6, 128) | (Family::Ipv4, 8) => Sign::find(rest).map(Icmp::Request),
        (Family::Ipv6, 129) | (Family::Ipv4, 0) => Sign::find(rest).map(Icmp::Reply),
        (Family::Ipv6, 1..=4) | (Family::Ipv4, 3 | 11 | 12) => {
            about(family, rest).map(|about| Icmp::Error { kind, code, about })
        }
        _ => None,
    }
}

/// The source port of a SYN that a raw TCP socket received; `None` for any other segment.
pub(super) fn parse_syn(family: Family, bytes: &[u8]) -> Option<u16> {
    let segment = transport(family, bytes)?;
    let (syn, mask) = SYN_OF_SYN_ACK;
    (segment.get(13)? & mask == syn).then(|| port(segment)).flatten()
}

fn transport(family: Family, bytes: &[u8]) -> Option<&[u8]> {
    match family {
        Family::Ipv6 => Some(bytes),
        Family::Ipv4 => bytes.get(header_v4_bytes(bytes)?..),
    }
}

fn header_v4_bytes(bytes: &[u8]) -> Option<usize> {
    Some(usize::from(bytes.first()? & 0x0f) * 4)
}

/// Which packet an error quotes.
fn about(family: Family, quoted: &[u8]) -> Option<About> {
    if let Some(sign) = Sign::find(quoted) {
        return Some(About::Sign(sign));
    }
    let (protocol, to, segment) = match family {
        Family::Ipv6 => {
            let to: [u8; 16] = quoted.get(24..40)?.try_into().ok()?;
            (*quoted.get(6)?, IpAddr::from(Ipv6Addr::from(to)), quoted.get(HEADER_V6_BYTES..)?)
        }
        Family::Ipv4 => {
            let to: [u8; 4] = quoted.get(16..20)?.try_into().ok()?;
            (*quoted.get(9)?, IpAddr::from(Ipv4Addr::from(to)), quoted.get(header_v4_bytes(quoted)?..)?)
        }
    };
    if protocol != TCP {
        return None;
    }
    Some(About::Tcp { from_port: port(segment)?, to })
}

fn port(segment: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes([*segment.first()?, *segment.get(1)?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGN: Sign = Sign { nonce: 0x0123_4567_89ab_cdef, index: 0x0a0b };

    fn header_v4(protocol: u8, to: [u8; 4]) -> Vec<u8> {
        let mut bytes = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1];
        bytes.extend(to);
        bytes
    }

    fn header_v6(protocol: u8, to: Ipv6Addr) -> Vec<u8> {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 0, protocol, 64];
        bytes.extend([0; 16]);
        bytes.extend(to.octets());
        bytes
    }

    #[test]
    fn checksum_of_rfc_1071() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[0xff]), !0xff00, "an odd byte is the high one of its word");
        assert_eq!(checksum(&[]), 0xffff);
    }

    #[test]
    fn a_request_sums_to_nothing() {
        let request = echo_request(Family::Ipv4, SIGN);
        assert_eq!(checksum(&request), 0);
        assert_eq!(&request[..2], [8, 0]);
        assert_eq!(
            &request[4..8],
            [0xcd, 0xef, 0x0a, 0x0b],
            "identifier from the nonce, sequence from the index"
        );
        assert_eq!(&echo_request(Family::Ipv6, SIGN)[..4], [128, 0, 0, 0]);
    }

    #[test]
    fn a_payload_is_found_whatever_is_around_it() {
        let payload = SIGN.payload();
        assert_eq!(payload.len(), PAYLOAD_BYTES);
        let around = [b"xx".as_slice(), &payload, b"yy"].concat();
        assert_eq!(Sign::find(&around), Some(SIGN));
        assert_eq!(Sign::find(&payload[..PAYLOAD_BYTES - 1]), None, "cut short");
        assert_eq!(Sign::find(b""), None);
    }

    #[test]
    fn requests_and_replies_are_told_apart() {
        for (family, reply) in [(Family::Ipv6, 129), (Family::Ipv4, 0)] {
            let before = if family == Family::Ipv4 { header_v4(1, [192, 0, 2, 2]) } else { Vec::new() };
            let mut message = [before.clone(), echo_request(family, SIGN)].concat();
            assert_eq!(parse_icmp(family, &message), Some(Icmp::Request(SIGN)));
            message[before.len()] = reply;
            assert_eq!(parse_icmp(family, &message), Some(Icmp::Reply(SIGN)));
        }
        assert_eq!(parse_icmp(Family::Ipv4, &[0x45]), None);
        assert_eq!(parse_icmp(Family::Ipv6, &[]), None);
    }

    #[test]
    fn an_error_names_the_datagram_it_quotes() {
        let udp = [vec![0; 8], SIGN.payload()].concat();
        let quoted = [vec![3, 1, 0, 0, 0, 0, 0, 0], header_v4(17, [192, 0, 2, 9]), udp].concat();
        let received = [header_v4(1, [192, 0, 2, 1]), quoted].concat();
        let expected = Icmp::Error { kind: 3, code: 1, about: About::Sign(SIGN) };
        assert_eq!(parse_icmp(Family::Ipv4, &received), Some(expected));
    }

    #[test]
    fn an_error_names_the_syn_it_quotes() {
        let to: Ipv6Addr = "2001:db8::9".parse().unwrap();
        let segment = vec![0x4e, 0x20, 0x01, 0xbb, 0, 0, 0, 0];
        let received = [vec![1, 0, 0, 0, 0, 0, 0, 0], header_v6(TCP, to), segment.clone()].concat();
        let about = About::Tcp { from_port: 20000, to: to.into() };
        assert_eq!(parse_icmp(Family::Ipv6, &received), Some(Icmp::Error { kind: 1, code: 0, about }));
        let other = [vec![1, 0, 0, 0, 0, 0, 0, 0], header_v6(58, to), segment].concat();
        assert_eq!(parse_icmp(Family::Ipv6, &other), None, "not one of ours");
    }

    #[test]
    fn only_a_syn_is_a_syn() {
        let mut segment = vec![0x4e, 0x20, 0x01, 0xbb, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x02];
        assert_eq!(parse_syn(Family::Ipv6, &segment), Some(20000));
        let whole = [header_v4(TCP, [192, 0, 2, 2]), segment.clone()].concat();
        assert_eq!(parse_syn(Family::Ipv4, &whole), Some(20000));
        segment[13] = 0x12;
        assert_eq!(parse_syn(Family::Ipv6, &segment), None, "SYN and ACK");
        assert_eq!(parse_syn(Family::Ipv6, &segment[..13]), None);
    }
}
