//! Putting packets of one flow together, so that cutting them again gives the same bytes.

use super::header::Header;
use super::transport::{TCP, Transport};
use std::ops::DerefMut;

const ACK: u8 = 0x10;
const PSH: u8 = 0x08;

/// Packets that go into one super-packet: a limit of the kernel that cuts them.
pub const GROUP: usize = 64;
/// Groups that can grow at a time, the last begun: what a packet costs is bounded, whatever flows a tenant has.
const OPEN: usize = 16;
/// Bytes of a super-packet.
const BYTES: usize = 65_535;

/// Packets of a train that go to the TUN as one.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// What stands in front.
    pub header: Header,
    /// Which packets of the train, in order. Of the first all bytes go, of the others the payload.
    pub members: Vec<usize>,
    /// `None`: of no flow, so that it is one packet.
    flow: Option<Transport>,
    /// `None`: it takes no other packet.
    open: Option<Open>,
}

/// A group that can grow.
#[derive(Debug, Clone, Copy)]
struct Open {
    /// Payload of the first.
    size: usize,
    /// Bytes so far.
    length: usize,
    /// The sequence number that must come.
    sequence: u32,
}

/// Puts the packets of one train after the other together; kept, so that its memory is used again.
#[derive(Debug, Default)]
pub struct Joiner {
    groups: Vec<Group>,
    used: usize,
    /// Groups before that one take no other packet.
    first_open: usize,
}

impl Joiner {
    /// Groups the packets of a train and makes the first of each group the head of its super-packet. Packets of one flow
    /// stay in order; UDP is put together only where the TUN can cut it again.
    pub fn join(&mut self, packets: &mut [impl DerefMut<Target = [u8]>], with_udp: bool) -> &[Group] {
        (self.used, self.first_open) = (0, 0);
        for at in 0..packets.len() {
            self.add(packets, at, with_udp);
        }
        for group in &mut self.groups[..self.used] {
            head(group, packets);
        }
        &self.groups[..self.used]
    }

    fn add(&mut self, packets: &[impl DerefMut<Target = [u8]>], at: usize, with_udp: bool) {
        let packet = &packets[at];
        let Some(transport) = Transport::of(packet) else {
            // Of whatever flow it is, nothing after it goes before it.
            self.begin(at, None, None);
            return self.first_open = self.used;
        };
        let own = self.groups[self.first_open..self.used].iter_mut().find(|group| {
            let same = |flow: Transport| is_of(&flow, &packets[group.members[0]], &transport, packet);
            group.open.is_some() && group.flow.is_some_and(same)
        });
        if let Some(group) = own {
            if group.take(packets, at, transport) {
                return;
            }
            group.open = None;
        }
        let size = packet.len() - transport.payload;
        let is_joinable = size > 0
            && (if transport.protocol == TCP { flags(&transport, packet) == ACK } else { with_udp })
            && transport.is_sound(packet);
        let sequence = sequence(&transport, packet).wrapping_add(size as u32);
        let open = Open { size, length: packet.len(), sequence };
        self.begin(at, Some(transport), is_joinable.then_some(open));
    }

    fn begin(&mut self, at: usize, flow: Option<Transport>, open: Option<Open>) {
        if self.used == self.groups.len() {
            self.groups.push(Group::default());
        }
        let group = &mut self.groups[self.used];
        self.used += 1;
        self.first_open = self.first_open.max(self.used.saturating_sub(OPEN));
        group.members.clear();
        group.members.push(at);
        (group.header, group.flow, group.open) = (Header::default(), flow, open);
    }
}

impl Group {
    /// Where the payload of each packet begins.
    #[must_use]
    pub fn payload(&self) -> usize {
        self.flow.map_or(0, |flow| flow.payload)
    }

    /// Takes the next packet of its flow, if cutting would give it back as it is.
    fn take(&mut self, packets: &[impl DerefMut<Target = [u8]>], at: usize, transport: Transport) -> bool {
        let Some(mut open) = self.open.filter(|_| self.flow == Some(transport)) else { return false };
        let (first, packet) = (&packets[self.members[0]], &packets[at]);
        let size = packet.len() - transport.payload;
        let fits = size > 0
            && size <= open.size
            && open.length + size <= BYTES
            && self.members.len() < GROUP
            && are_alike(&transport, first, packet, self.members.len())
            && (transport.protocol != TCP || sequence(&transport, packet) == open.sequence)
            && transport.is_sound(packet);
        if !fits {
            return false;
        }
        self.members.push(at);
        open.length += size;
        open.sequence = open.sequence.wrapping_add(size as u32);
        let is_pushed = transport.protocol == TCP && flags(&transport, packet) & PSH != 0;
        self.open = (size == open.size && !is_pushed).then_some(open);
        true
    }
}

/// Whether a packet is of the flow of another.
fn is_of(flow: &Transport, first: &[u8], transport: &Transport, packet: &[u8]) -> bool {
    let ports = |of: &Transport| of.start..of.start + 4;
    flow.is_v6 == transport.is_v6
        && flow.protocol == transport.protocol
        && flow.addresses(first) == transport.addresses(packet)
        && first[ports(flow)] == packet[ports(transport)]
}

/// Whether a packet's headers are, but for TCP's sequence number, what cutting makes of the first's for the one of this
/// number.
fn are_alike(flow: &Transport, first: &[u8], packet: &[u8], number: usize) -> bool {
    let Transport { is_v6, protocol, start, payload } = *flow;
    let same = |range: std::ops::Range<usize>| first[range.clone()] == packet[range];
    let is_ip_alike = if is_v6 {
        // Traffic class and flow label, next header, hop limit, and whatever stands between.
        same(0..4) && same(6..8) && same(40..start)
    } else {
        let id = |of: &[u8]| u16::from_be_bytes([of[4], of[5]]);
        let is_next = id(packet) == id(first).wrapping_add(number as u16);
        same(0..2) && same(6..10) && same(20..start) && is_next
    };
    if protocol != TCP {
        return is_ip_alike;
    }
    // Acknowledgement, window, urgent pointer and options; of the flags only PSH may come.
    is_ip_alike
        && same(start + 8..start + 13)
        && flags(flow, packet) & !PSH == ACK
        && same(start + 14..start + 16)
        && same(start + 18..payload)
}

/// All flags of TCP.
fn flags(transport: &Transport, packet: &[u8]) -> u8 {
    packet[transport.start + 13]
}

/// TCP's sequence number; of UDP nothing that means anything.
fn sequence(transport: &Transport, packet: &[u8]) -> u32 {
    let at = transport.start + 4;
    u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]])
}

/// Makes the first packet the head of all: what stands in front, lengths, the last one's PSH, and the checksum left to
/// whoever cuts.
fn head(group: &mut Group, packets: &mut [impl DerefMut<Target = [u8]>]) {
    let (Some(transport), [first, .., last]) = (group.flow, &group.members[..]) else { return };
    let (first, last) = (*first, *last);
    group.header = Header::of(&transport, packets[first].len() - transport.payload);
    let more: usize = group.members[1..].iter().map(|at| packets[*at].len() - transport.payload).sum();
    let length = packets[first].len() + more;
    let push = if transport.protocol == TCP { flags(&transport, &packets[last]) & PSH } else { 0 };
    let packet = &mut packets[first];
    transport.set_lengths(packet, length);
    if push != 0 {
        packet[transport.start + 13] |= PSH;
    }
    let at = transport.checksum();
    let sum = transport.pseudo(packet, length - transport.start).partial();
    packet[at..at + 2].copy_from_slice(&sum);
}
