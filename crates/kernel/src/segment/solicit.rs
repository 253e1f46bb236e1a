//! Asking who has an address, and the answer: neighbour solicitations and advertisements (RFC 4861).
//!
//! Owns: their bytes. Must not know when to ask, or what an answer means.

use std::net::Ipv6Addr;

use sixfold_core::mac::Mac;

use super::frame::{self, Way};

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Options: whose hardware address it is.
const SOURCE: u8 = 1;
const TARGET: u8 = 2;
/// Bytes of a solicitation or an advertisement before its options.
const FIXED: usize = 24;
/// Of an advertisement: from a router; solicited; to be believed over what was known.
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// Whether anybody has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ask {
    /// A gateway, from the unspecified address: the answer goes to all nodes, so that neither side needs an entry in a table of
    /// neighbours that others can fill. It would keep a machine from taking the address that is just looking whether it may; ours
    /// take theirs without.
    Gateway(Ipv6Addr),
    /// The router, from a link-local address made of the NIC's own hardware address (RFC 4291, appendix A): whoever is about to take
    /// the address is not disturbed (RFC 4862, 5.4.3), and the answer comes to this node alone.
    Router(Ipv6Addr),
}

/// Somebody has the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Answer {
    /// Which was asked for.
    pub address: Ipv6Addr,
    /// The hardware address that the answer was sent from.
    pub from: Mac,
}

/// The solicitation as a frame, sent by the NIC of that hardware address.
pub(super) fn solicit(ask: Ask, nic: Mac) -> Vec<u8> {
    let (from, target) = match ask {
        Ask::Gateway(target) => (Ipv6Addr::UNSPECIFIED, target),
        Ask::Router(target) => (link_local(nic), target),
    };
    let [.., a, b, c] = target.octets();
    let to = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    if let Ask::Router(_) = ask {
        message.extend(option(SOURCE, nic));
    }
    frame::icmpv6(Way { from: nic, to: Mac([0x33, 0x33, 0xff, a, b, c]) }, Way { from, to }, message)
}

/// The advertisement by which a router says, unasked, to all that it has the address.
pub(super) fn advertise(address: Ipv6Addr, mac: Mac) -> Vec<u8> {
    let mut message = vec![ADVERTISEMENT, 0, 0, 0, ROUTER | OVERRIDE, 0, 0, 0];
    message.extend(address.octets());
    message.extend(option(TARGET, mac));
    let addresses = Way { from: address, to: frame::ALL_NODES };
    frame::icmpv6(Way { from: mac, to: frame::ALL_NODES_MAC }, addresses, message)
}

/// The advertisement in a frame, if it is a valid one (RFC 4861, 7.1.2).
pub(crate) fn decode(frame: &[u8]) -> Option<Answer> {
    let (from, addresses, message) = frame::read_icmpv6(frame)?;
    let (fixed, options) = message.split_at_checked(FIXED)?;
    let [ADVERTISEMENT, 0, _, _, flags, ..] = *fixed else { return None };
    let address = frame::address(&fixed[8..])?;
    let nobodys = |address: &Ipv6Addr| address.is_multicast() || address.is_unspecified();
    let told_to_all_as_asked = addresses.to.is_multicast() && flags & SOLICITED != 0;
    let unsound = nobodys(&address) || nobodys(&addresses.from) || told_to_all_as_asked;
    (!unsound && are_options(options)).then_some(Answer { address, from })
}

/// Each tells its length in units of eight bytes, and none is empty.
fn are_options(mut bytes: &[u8]) -> bool {
    while let [_, length, ..] = *bytes {
        match bytes.get(8 * usize::from(length)..) {
            Some(rest) if length > 0 => bytes = rest,
            _ => return false,
        }
    }
    bytes.is_empty()
}

fn option(kind: u8, mac: Mac) -> Vec<u8> {
    [&[kind, 1][..], &mac.0].concat()
}

fn link_local(Mac([a, b, c, d, e, g]): Mac) -> Ipv6Addr {
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, g])
}
