//! For every namespace of ours packets that each of its rules and `unreachable` routes decides on, with the end that the
//! model demands. Most come in by a link as if the guard before it were gone: each guard must hold alone. Never asks the
//! states what is in them.

mod egress;
mod gateway;
mod public;
mod router;

use std::net::{IpAddr, Ipv6Addr};

use sixfold_core::addr::{PrefixIndex, Resource};
use sixfold_core::id::NodeId;
use sixfold_core::model::{Grant, Network, ResourceKey, Seat};
use sixfold_core::name::{IfName, rule};
use sixfold_core::reach::{By, Stop};

use super::rules::Memory;
use super::{End, Load, Packet, Place, Walker};
use crate::farm::Farm;

/// Two hosts on the Internet.
const OUTSIDE: [IpAddr; 2] = [
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 9)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 10)),
];
const OUTSIDE_V4: [IpAddr; 2] = [v4(198, 51, 100, 200), v4(198, 51, 100, 201)];

/// The upstream router on the segment.
const UPSTREAM: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));

const REDIRECT: u8 = 137;
/// Destination unreachable, in each family.
const ERROR: Load = Load::Control(1);
const ERROR_V4: Load = Load::Control(3);
/// A port that nobody exposes.
const CLOSED_PORT: u16 = 9;

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(std::net::Ipv4Addr::new(a, b, c, d))
}

/// One packet and what must become of it.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) at: Place,
    /// The link that it comes in by; `None` where the namespace itself sends it.
    input: Option<IfName>,
    packet: Packet,
    expected: Expected,
}

#[derive(Debug)]
enum Expected {
    /// At the namespace it is asked of.
    Stopped(&'static str, &'static str),
    /// The same, while its network has as many connections as it may.
    StoppedInACrowd(&'static str, &'static str),
    /// The same elsewhere.
    StoppedAt(Place, &'static str, &'static str),
    /// By an `unreachable` route, and counted.
    Refused,
    Arrives,
    ArrivesAt(Place),
    /// It arrives somewhere, and the answer comes back.
    Answered,
    /// The namespace lets its own packet go.
    Leaves,
    /// Out of the farm from this address.
    Outside(IpAddr),
    /// A peer does not take it.
    TurnedDown,
    /// Its segments are made to fit on the way.
    Clamped,
    /// No connection is kept for it.
    Untracked,
}

impl Question {
    /// What is otherwise than expected, if anything is.
    pub(super) fn difference(&self, walker: &Walker, memory: &mut Memory) -> Option<String> {
        if matches!(self.expected, Expected::StoppedInACrowd(..)) {
            memory.crowd();
        }
        let end = match self.input {
            Some(link) => walker.send_by(&self.at, link, self.packet.clone(), memory),
            None => walker.send(&self.at, self.packet.clone(), memory),
        };
        let stopped_at = |at: &Place, chain: &str, comment: &str| {
            let by = By::Rule { chain: chain.to_owned(), comment: comment.to_owned() };
            matches!(&end, End::Stopped(stop) if *stop == Stop { node: at.node.clone(), netns: at.netns, by })
        };
        let here = |stop: &Stop| Place { node: stop.node.clone(), netns: stop.netns } == self.at;
        let holds = match &self.expected {
            Expected::Stopped(chain, comment) | Expected::StoppedInACrowd(chain, comment) => {
                stopped_at(&self.at, chain, comment)
            }
            Expected::StoppedAt(at, chain, comment) => stopped_at(at, chain, comment),
            Expected::Refused => {
                matches!(&end, End::Stopped(stop) if stop.by == By::Unreachable && here(stop))
            }
            Expected::Arrives => matches!(&end, End::Arrived(at, _) if *at == self.at),
            Expected::ArrivesAt(there) => matches!(&end, End::Arrived(at, _) if at == there),
            Expected::Answered => self.comes_back(walker, &end, memory),
            Expected::Leaves => !matches!(&end, End::Stopped(stop) if here(stop)),
            Expected::Outside(from) => matches!(&end, End::Outside(packet) if packet.source == *from),
            Expected::TurnedDown => matches!(&end, End::Lost(why) if why.contains("does not take")),
            Expected::Clamped => memory.clamped().any(|at| *at == self.at),
            Expected::Untracked => memory.tracked().all(|at| *at != self.at),
        };
        (!holds).then(|| format!("{self:?}\n  but {end:?}"))
    }

    fn comes_back(&self, walker: &Walker, end: &End, memory: &mut Memory) -> bool {
        let back = |seen: &Packet| Packet {
            source: self.packet.destination,
            destination: seen.source,
            answer: true,
            ..self.packet.clone()
        };
        let end = match end {
            End::Arrived(at, seen) => walker.send(at, back(seen), memory),
            End::Outside(seen) => walker.send_from_outside(back(seen), None, memory),
            _ => return false,
        };
        matches!(end, End::Arrived(at, _) if at == self.at)
    }
}

/// What is asked of one namespace.
struct Asked {
    at: Place,
    questions: Vec<Question>,
}

impl Asked {
    fn of(at: Place) -> Self {
        Self { at, questions: Vec::new() }
    }

    fn add(&mut self, input: Option<IfName>, (from, to, load): (IpAddr, IpAddr, Load), expected: Expected) {
        let packet = Packet { source: from, destination: to, load, answer: false };
        self.questions.push(Question { at: self.at.clone(), input, packet, expected });
    }

    /// What comes in by a link.
    fn by(&mut self, link: IfName, packet: (IpAddr, IpAddr, Load), expected: Expected) {
        self.add(Some(link), packet, expected);
    }

    /// An answer that nobody asked for.
    fn unasked(&mut self, link: IfName, packet: (IpAddr, IpAddr, Load), expected: Expected) {
        self.by(link, packet, expected);
        self.questions.last_mut().unwrap().packet.answer = true;
    }

    /// What the namespace sends.
    fn own(&mut self, packet: (IpAddr, IpAddr, Load), expected: Expected) {
        self.add(None, packet, expected);
    }

    /// What it answers.
    fn answers(&mut self, packet: (IpAddr, IpAddr, Load)) {
        self.own(packet, Expected::Leaves);
        self.questions.last_mut().unwrap().packet.answer = true;
    }

    /// What every namespace may say and may not: something to itself, errors to others, nothing else and no redirect.
    fn voice(&mut self, from: IpAddr) {
        let (outside, error) = match from {
            IpAddr::V6(_) => (OUTSIDE[0], ERROR),
            IpAddr::V4(_) => (OUTSIDE_V4[0], ERROR_V4),
        };
        self.own((from, from, Load::Tcp(CLOSED_PORT)), Expected::Arrives);
        self.own((from, outside, error), Expected::Leaves);
        self.own((from, outside, Load::Udp(CLOSED_PORT)), Expected::Stopped("output", rule::CLOSED));
        if from.is_ipv6() {
            self.own((from, outside, Load::Control(REDIRECT)), Expected::Stopped("output", "no redirects"));
        }
    }
}

/// A resource of a network, or its exit point.
struct Member<'a> {
    place: Place,
    seat: &'a Seat,
    derived: Resource,
    /// Whether its IPv4 leaves at its own node.
    leaves_here: bool,
}

impl Member<'_> {
    fn address(&self) -> IpAddr {
        self.derived.local_address.into()
    }

    fn address_v4(&self) -> IpAddr {
        self.derived.local_address_v4.into()
    }
}

/// Whether a node lets a grant's IPv4 out, and nobody else's is the same there.
fn leaves_here(farm: &Farm, (key, grant): (&ResourceKey, &Grant), node: &NodeId) -> bool {
    let (of, _) = farm.world.node(node).unwrap();
    let provided = of.provisions().get(node).is_some_and(|provision| provision.local_v4.is_some());
    let mut before = farm.ledger.grants().iter().filter(|(other, there)| {
        let local = farm.world.network(&there.network).is_some_and(Network::local_v4);
        other.index == key.index
            && other.number < key.number
            && there.seat == grant.seat
            && there.is_live()
            && local
    });
    provided && grant.seat != Seat::Exit && before.next().is_none()
}

/// The exit point first.
fn members<'a>(farm: &'a Farm, network: &Network) -> Vec<Member<'a>> {
    let allocation = farm.ledger.allocation(network.exit().prefix).unwrap();
    let grants = farm.ledger.grants_of(network.id()).filter(|(_, grant)| grant.is_live());
    let member = grants.map(|(key, grant)| {
        let derived = Resource::derive(&allocation, key.index);
        let node = farm.world.seated(farm.world.network(&grant.network).unwrap(), &grant.seat).unwrap();
        let place = Place { node: node.id().clone(), netns: derived.netns };
        let leaves_here = network.local_v4() && leaves_here(farm, (&key, grant), node.id());
        Member { place, seat: &grant.seat, derived, leaves_here }
    });
    let mut members: Vec<Member<'_>> = member.collect();
    members.sort_by_key(|member| *member.seat != Seat::Exit);
    members
}

/// An index of the slot that nobody holds.
fn ungranted(farm: &Farm, slot: sixfold_core::id::ExitSlot) -> PrefixIndex {
    let taken = |index: &PrefixIndex| farm.ledger.grants().keys().any(|key| key.index == *index);
    PrefixIndex::of_slot(slot).find(|index| !taken(index)).unwrap()
}

/// Everything there is to ask of a farm.
pub(super) fn questions(farm: &Farm) -> Vec<Question> {
    let mut all = Vec::new();
    for network in farm.world.networks().values() {
        all.extend(router::questions(farm, network));
    }
    for slot in farm.world.farms().values().flat_map(|farm| farm.slots().values()) {
        all.extend(gateway::questions(farm, slot));
    }
    all.extend(farm.world.nodes().flat_map(|(_, node)| public::questions(farm, node)));
    all.extend(farm.world.nodes().flat_map(|(_, node)| egress::questions(farm, node)));
    all
}

/// What is left to ask when every tunnel is gone: nothing goes to a peer by another way.
pub(super) fn questions_without_tunnels(farm: &Farm) -> Vec<Question> {
    farm.world
        .networks()
        .values()
        .flat_map(|network| router::questions_without_tunnel(farm, network))
        .collect()
}
