//! Of the namespace `public` of a node that can be reached.

use std::net::IpAddr;

use sixfold_core::id::NodeId;
use sixfold_core::limit::GOSSIP_PORT;
use sixfold_core::model::{Family, Node, Protocol, Service};
use sixfold_core::name::{self, rule};

use super::{Asked, CLOSED_PORT, Expected, Load, OUTSIDE, OUTSIDE_V4, Place, Question, UPSTREAM};
use crate::farm::Farm;

pub(super) fn questions(farm: &Farm, node: &Node) -> Vec<Question> {
    if node.is_hidden() {
        return Vec::new();
    }
    let reach = node.reach();
    let mut asked = Asked::of(Place { node: node.id().clone(), netns: name::netns_public() });
    if let Some(address) = reach.address(Family::Ipv6) {
        of_address(&mut asked, (address, OUTSIDE[0]), &[1, 2, 3, 4]);
        for kind in [135, 136] {
            asked.by(name::public_link(), (UPSTREAM, address, Load::Control(kind)), Expected::Arrives);
        }
    }
    if let Some(address) = reach.address(Family::Ipv4) {
        of_address(&mut asked, (address, OUTSIDE_V4[0]), &[3, 11, 12]);
    }
    let ports = farm.ledger.grants().iter().filter(|(_, grant)| {
        let network = farm.world.network(&grant.network).unwrap();
        farm.world.seated(network, &grant.seat).is_some_and(|seated| seated.id() == node.id())
    });
    for (key, _) in ports {
        if let Some(address) = reach.address(Family::Ipv6) {
            let port = key.index.get();
            let link = name::public_link();
            asked.by(link, (OUTSIDE[0], address, Load::Tunnel(CLOSED_PORT, port)), Expected::Arrives);
            asked.own((address, OUTSIDE[0], Load::Tunnel(port, CLOSED_PORT)), Expected::Leaves);
        }
    }
    gossip(&mut asked, farm, node);
    services(&mut asked, farm, node);
    asked.questions
}

/// Who may hold a slot that can pass on is asked who does, by anybody; whoever leaves by one, by those who may hold it.
fn gossip(asked: &mut Asked, farm: &Farm, node: &Node) {
    let slots = farm.world.networks().values().filter_map(|network| {
        let there = network.nodes().contains(node.id());
        let slot = farm.world.farm(&network.exit().farm)?.slot(network.exit().key())?;
        let holders = slot.holders();
        (holders.len() > 1 && (there || holders.contains(node.id()))).then_some(holders)
    });
    let slots: Vec<&[NodeId]> = slots.collect();
    let is_asked = slots.iter().any(|holders| holders.contains(node.id()));
    let Some(address) = node.reachable(Family::Ipv6) else { return };
    let (link, word) = (name::public_link(), Load::Tunnel(GOSSIP_PORT, GOSSIP_PORT));
    let closed = || Expected::Stopped("input", rule::CLOSED);
    asked.by(link, (OUTSIDE[0], address, word), if is_asked { Expected::Arrives } else { closed() });
    let answer = if slots.is_empty() { Expected::Stopped("output", rule::CLOSED) } else { Expected::Leaves };
    asked.own((address, OUTSIDE[0], Load::Tunnel(GOSSIP_PORT, CLOSED_PORT)), answer);
    for other in slots.into_iter().flatten().filter(|other| *other != node.id()) {
        let other = farm.world.node(other).and_then(|(_, other)| other.reachable(Family::Ipv6));
        other.into_iter().for_each(|other| asked.by(link, (other, address, word), Expected::Arrives));
    }
}

/// The node's own, which the farm file names: each by its address, protocol and port, and by nothing near these.
fn services(asked: &mut Asked, farm: &Farm, node: &Node) {
    let (of, _) = farm.world.node(node.id()).unwrap();
    let link = name::public_link();
    let services = of.provisions().get(node.id()).map_or(&[][..], |provision| &provision.services);
    for Service { address, protocol, port } in services.iter().copied() {
        let outside = if address.is_ipv6() { OUTSIDE[0] } else { OUTSIDE_V4[0] };
        let (own, other) = match protocol {
            Protocol::Tcp => (Load::Tcp(port), Load::Udp(port)),
            Protocol::Udp => (Load::Udp(port), Load::Tcp(port)),
        };
        asked.by(link, (outside, address, own), Expected::Arrives);
        asked.answers((address, outside, own));
        asked.by(link, (outside, address, Load::Tcp(port + 1)), Expected::Stopped("input", rule::CLOSED));
        // By another protocol there may be another service.
        if !services.iter().any(|it| it.address == address && it.port == port && it.protocol != protocol) {
            asked.by(link, (outside, address, other), Expected::Stopped("input", rule::CLOSED));
        }
    }
}

fn of_address(asked: &mut Asked, (address, outside): (IpAddr, IpAddr), errors: &[u8]) {
    let link = name::public_link();
    asked.voice(address);
    for kind in errors {
        asked.by(link, (outside, address, Load::Control(*kind)), Expected::Arrives);
    }
    asked.by(link, (outside, address, Load::Echo), Expected::Arrives);
    asked.unasked(link, (outside, address, Load::Echo), Expected::Arrives);
    asked.own((address, outside, Load::Echo), Expected::Answered);
    asked.by(link, (outside, address, Load::Tcp(22)), Expected::Stopped("input", rule::CLOSED));
    asked.by(link, (outside, address, Load::Udp(CLOSED_PORT)), Expected::Stopped("input", rule::CLOSED));
}
