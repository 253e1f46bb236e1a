//! The header of an inner packet, as far as cryptokey routing needs it: both addresses and the true length.
//! It looks at no payload and walks no extension headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// WireGuard pads inner packets to a multiple of this many bytes.
pub const PADDING: usize = 16;

const HEADER_LEN: usize = 40;
const HEADER_LEN_V4: usize = 20;

/// What the IP header of a packet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InnerHeader {
    /// Who claims to have sent it.
    pub source: IpAddr,
    /// Whom it is for.
    pub destination: IpAddr,
    /// Length of the IP packet in bytes; what follows is WireGuard's padding.
    pub length: usize,
}

/// Reads the header; `None` if the version is unknown or a length does not fit into what is there.
pub fn parse_inner(packet: &[u8]) -> Option<InnerHeader> {
    match packet.first()? >> 4 {
        6 => parse_v6(packet),
        4 => parse_v4(packet),
        _ => None,
    }
}

fn parse_v6(packet: &[u8]) -> Option<InnerHeader> {
    let header = packet.first_chunk::<HEADER_LEN>()?;
    let length = HEADER_LEN + usize::from(u16::from_be_bytes([header[4], header[5]]));
    (length <= packet.len()).then(|| InnerHeader {
        source: IpAddr::V6(address(&header[8..24])),
        destination: IpAddr::V6(address(&header[24..40])),
        length,
    })
}

fn parse_v4(packet: &[u8]) -> Option<InnerHeader> {
    let header = packet.first_chunk::<HEADER_LEN_V4>()?;
    let header_length = usize::from(header[0] & 15) * 4;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    (header_length >= HEADER_LEN_V4 && header_length <= length && length <= packet.len()).then(|| {
        InnerHeader {
            source: IpAddr::V4(Ipv4Addr::new(header[12], header[13], header[14], header[15])),
            destination: IpAddr::V4(Ipv4Addr::new(header[16], header[17], header[18], header[19])),
            length,
        }
    })
}

fn address(bytes: &[u8]) -> Ipv6Addr {
    let bytes: [u8; 16] = bytes.try_into().expect("the caller cuts 16 bytes from a fixed header");
    Ipv6Addr::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v6(payload: u16, total: usize) -> Vec<u8> {
        let mut packet = vec![0; total];
        packet[0] = 0x60;
        packet[4..6].copy_from_slice(&payload.to_be_bytes());
        packet[8..10].copy_from_slice(&[0x20, 0x01]);
        packet[39] = 9;
        packet
    }

    #[test]
    fn reads_both_families_and_trims_padding() {
        let header = parse_inner(&v6(4, 48)).unwrap();
        assert_eq!((header.length, header.source), (44, "2001::".parse().unwrap()));
        assert_eq!(header.destination, "::9".parse::<IpAddr>().unwrap());

        let mut packet = vec![0; 32];
        packet[..4].copy_from_slice(&[0x45, 0, 0, 28]);
        packet[12..20].copy_from_slice(&[192, 0, 2, 1, 198, 51, 100, 2]);
        let header = parse_inner(&packet).unwrap();
        assert_eq!((header.length, header.source), (28, "192.0.2.1".parse().unwrap()));
        assert_eq!(header.destination, "198.51.100.2".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn refuses_what_does_not_fit() {
        assert_eq!(parse_inner(&[]), None);
        assert_eq!(parse_inner(&[0x60; 39]), None);
        assert_eq!(parse_inner(&v6(9, 48)), None, "payload longer than the packet");
        assert_eq!(parse_inner(&[0x50; 60]), None, "no such version");
        let mut packet = vec![0; 32];
        packet[..4].copy_from_slice(&[0x44, 0, 0, 28]);
        assert_eq!(parse_inner(&packet), None, "header shorter than twenty bytes");
        packet[..4].copy_from_slice(&[0x46, 0, 0, 20]);
        assert_eq!(parse_inner(&packet), None, "header longer than the packet");
    }
}
