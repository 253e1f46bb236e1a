//! From IPv4 to IPv6 and back, for workloads that speak IPv6 alone (RFC 7915).
//!
//! ```text
//!   198.51.100.7 ── IPv4 ──▶ 10.h.l.k                 what the network's IPv4 rules let through
//!                     │ translate                        k: the workload's number, in both
//!   64:ff9b:1::198.51.100.7 ── IPv6 ──▶ $P:NIB::k      what the workload sees; its answers take the same way back
//! ```
//!
//! Owns: packets as bytes and which address stands for which. Nothing is remembered from one packet to the next, so there is nothing
//! to exhaust, to pass on or to lose. Must not know descriptors, nor who may speak with whom: that is the firewall's, on both sides.
//!
//! TCP, UDP and ICMP alone. What cannot be translated is dropped, by a [`Refusal`].

mod checksum;
mod four;
mod icmp;
mod six;
#[cfg(test)]
mod tests;

use ipnet::{Ipv4Net, Ipv6Net};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// `64:ff9b:1::/96`: where IPv4 addresses are found in IPv6, of the range that RFC 8215 sets apart for whoever translates for
/// himself. Nothing of it leaves a farm.
pub const CLIENTS: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 96);

/// What every link of IPv6 carries (RFC 8200).
pub(crate) const MTU_MIN: u16 = 1280;

/// Why a packet is not translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// It is no packet, or its lengths do not fit.
    Malformed,
    /// It is from or for an address that stands for none in the other family.
    NoAddress,
    /// It is of no protocol that is translated, or has a header that has no like.
    Protocol,
    /// It is a part of what can only be translated whole: of ICMP, or of a datagram without a checksum.
    Fragment,
    /// It does not fit, and must not be cut: its sender was told.
    TooBig,
}

/// A resource's two prefixes: `$P:NIB::/64` and `10.h.l.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Map {
    prefix: Ipv6Addr,
    prefix_v4: Ipv4Addr,
}

impl fmt::Display for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/64 {}/24", self.prefix, self.prefix_v4)
    }
}

impl Map {
    /// `None` if they are not of these lengths.
    pub fn new(prefix: Ipv6Net, prefix_v4: Ipv4Net) -> Option<Self> {
        let fits = prefix.prefix_len() == 64 && prefix_v4.prefix_len() == 24;
        fits.then(|| Self { prefix: prefix.network(), prefix_v4: prefix_v4.network() })
    }

    /// A workload's address, from its IPv4 address.
    fn workload(&self, address: Ipv4Addr) -> Result<Ipv6Addr, Refusal> {
        let [a, b, c, number] = address.octets();
        let [d, e, f, _] = self.prefix_v4.octets();
        let is_workload = [a, b, c] == [d, e, f] && (2..=254).contains(&number);
        let [p, q, r, i, ..] = self.prefix.segments();
        let address = Ipv6Addr::new(p, q, r, i, 0, 0, 0, number.into());
        is_workload.then_some(address).ok_or(Refusal::NoAddress)
    }

    /// The same backwards.
    fn workload_v4(&self, address: Ipv6Addr) -> Result<Ipv4Addr, Refusal> {
        let [d, e, f, _] = self.prefix_v4.octets();
        let number = address.octets()[15];
        let stood_for = Ipv4Addr::new(d, e, f, number);
        (self.workload(stood_for)? == address).then_some(stood_for).ok_or(Refusal::NoAddress)
    }
}

/// Where somebody else's IPv4 address is found in IPv6.
fn client(address: Ipv4Addr) -> Result<Ipv6Addr, Refusal> {
    let [a, b, c, d] = address.octets();
    let is_anybodys = !matches!(a, 0 | 127 | 224..=255);
    let [p, q, r, ..] = CLIENTS.network().segments();
    let found = Ipv6Addr::new(p, q, r, 0, 0, 0, u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    is_anybodys.then_some(found).ok_or(Refusal::NoAddress)
}

/// The same backwards.
fn client_v4(address: Ipv6Addr) -> Result<Ipv4Addr, Refusal> {
    let [.., a, b, c, d] = address.octets();
    let stood_for = Ipv4Addr::new(a, b, c, d);
    (client(stood_for)? == address).then_some(stood_for).ok_or(Refusal::NoAddress)
}

/// What a packet carries behind its header.
#[derive(Debug, Clone, Copy)]
struct Body<'a> {
    /// As IPv4 has it: [`TCP`], [`UDP`], [`ICMP`] or [`ICMPV6`].
    protocol: u8,
    part: Part,
    /// The length that the header tells, which in the packet of an error is more than there is of it.
    length: usize,
    bytes: &'a [u8],
}

/// Which part of a datagram a packet is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Part {
    /// In eights of bytes.
    offset: u16,
    more: bool,
    id: u32,
}

impl Part {
    const fn is_fragment(self) -> bool {
        self.offset != 0 || self.more
    }
}

/// Translates packets for one resource.
#[derive(Debug)]
pub struct Translator {
    map: Map,
    /// Of the links to its workloads.
    mtu: u16,
    /// Of the next IPv4 packet that may be cut on its way.
    id: u16,
}

impl Translator {
    /// For workloads behind links of this MTU; less than IPv6 has is taken for as much.
    pub const fn new(map: Map, mtu: u16) -> Self {
        Self { map, mtu: if mtu < MTU_MIN { MTU_MIN } else { mtu }, id: 0 }
    }

    /// Translates one packet, and gives what comes of it: one packet, or some fragments; or what tells its sender that it was
    /// too big.
    ///
    /// # Errors
    /// Why there is nothing in the other family that says the same.
    pub fn translate(&mut self, packet: &[u8], mut give: impl FnMut(&[u8])) -> Result<(), Refusal> {
        match packet.first().map(|first| first >> 4) {
            Some(4) => four::translate(&self.map, self.mtu, packet, &mut give),
            Some(6) => {
                self.id = self.id.wrapping_add(1);
                six::translate(&self.map, self.id, packet, &mut give)
            }
            _ => Err(Refusal::Malformed),
        }
    }
}
