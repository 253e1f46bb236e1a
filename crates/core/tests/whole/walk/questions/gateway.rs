//! Of gateways, in use or not.

use std::net::IpAddr;

use sixfold_core::addr::{GATEWAY_LOOPBACK_V4, Gateway, Resource};
use sixfold_core::model::{Forward, Network, Protocol, Slot};
use sixfold_core::name::rule;

use super::{
    Asked, CLOSED_PORT, Expected, Load, Member, OUTSIDE, OUTSIDE_V4, Place, Question, UPSTREAM, members,
    ungranted, v4,
};
use crate::farm::Farm;

const ASK: Load = Load::Echo;
const CALL: Load = Load::Tcp(CLOSED_PORT);
const PRIVATE: &str = "fd00::1";
const PRIVATE_V4: IpAddr = v4(192, 168, 0, 1);
/// A protocol without ports.
const GRE: Load = Load::Other(47);

pub(super) fn questions(farm: &Farm, slot: &Slot) -> Vec<Question> {
    let Some(allocation) = farm.ledger.allocation(slot.key().prefix) else { return Vec::new() };
    let derived = Gateway::derive(&allocation, slot.key().slot);
    let mut asked = Asked::of(Place { node: slot.holder().clone(), netns: derived.netns });
    let networks = farm.world.networks().values().filter(|network| network.exit().key() == slot.key());
    let has_ports =
        |network: &Network| farm.ledger.grants_of(network.id()).any(|(_, grant)| grant.ports.is_some());
    let networks: Vec<(Vec<Member<'_>>, bool)> =
        networks.map(|network| (members(farm, network), has_ports(network))).collect();
    let nobody = Resource::derive(&allocation, ungranted(farm, slot.key().slot));
    by_itself(&mut asked, &derived);
    let forged = (nobody.local_address.into(), OUTSIDE[0], ASK);
    asked.by(derived.public, forged, Expected::Stopped("source", rule::OWN_SOURCE));
    asked.by(derived.public, (OUTSIDE[0], nobody.local_address.into(), ASK), Expected::Refused);
    if let Some(address) = slot.public_v4() {
        over_v4(&mut asked, &derived, address.addr().into());
        // The gateway would answer into a network.
        let forged = (nobody.local_address_v4.into(), address.addr().into(), ASK);
        asked.by(derived.public, forged, Expected::Stopped("source", rule::SPOOFED_V4));
        asked.by(derived.public, (OUTSIDE_V4[0], nobody.local_address_v4.into(), ASK), Expected::Refused);
    }
    for network in farm.world.networks_by(slot.key()) {
        of_own_address(&mut asked, &derived, farm, network);
    }
    for (at, (network, has_ports)) in networks.iter().enumerate() {
        let other = networks.get(at + 1).or(networks.first()).filter(|_| networks.len() > 1);
        of_network(&mut asked, &derived, network, other.map(|(network, _)| &network[1]));
        let public = slot.public_v4().map(|address| address.addr().into());
        of_network_v4(&mut asked, &derived, network, (public, *has_ports));
        let sender = &network[1];
        let to_nobody = (sender.address_v4(), nobody.local_address_v4.into(), ASK);
        asked.by(network[0].derived.to_exit, to_nobody, Expected::Refused);
    }
    asked.questions
}

/// What has nothing to do with networks.
fn by_itself(asked: &mut Asked, derived: &Gateway) {
    let (public, address) = (derived.public, IpAddr::from(derived.public_address.addr()));
    let private = PRIVATE.parse().unwrap();
    let link_local = derived.public_link_local.addr().into();
    let stranger = "fe80::77".parse().unwrap();
    asked.voice(address);
    asked.own((address, OUTSIDE[0], ASK), Expected::Answered);
    asked.by(public, (UPSTREAM, link_local, Load::Control(135)), Expected::Arrives);
    asked.by(public, (UPSTREAM, link_local, Load::Control(136)), Expected::Arrives);
    asked.by(public, (stranger, link_local, Load::Control(135)), Expected::Arrives);
    asked.by(public, (UPSTREAM, link_local, Load::Control(134)), Expected::Stopped("input", rule::CLOSED));
    asked.by(public, (OUTSIDE[0], address, ASK), Expected::Arrives);
    asked.by(public, (OUTSIDE[0], address, CALL), Expected::Stopped("input", rule::CLOSED));
    asked.by(public, (OUTSIDE[0], private, ASK), Expected::Stopped("forward", rule::BOGON_OUT));
    asked.by(public, (private, OUTSIDE[0], ASK), Expected::Stopped("forward", rule::BOGON_IN));
    asked.by(public, (OUTSIDE[0], OUTSIDE[1], CALL), Expected::Stopped("forward", rule::UNASKED_V4));
    asked.by(public, (OUTSIDE[0], OUTSIDE[1], CALL), Expected::Clamped);
    asked.by(public, (OUTSIDE[0], OUTSIDE[1], CALL), Expected::Untracked);
    let own_v4 = GATEWAY_LOOPBACK_V4.into();
    asked.own((own_v4, own_v4, CALL), Expected::Arrives);
}

/// The same where the farmer gave an IPv4 address.
fn over_v4(asked: &mut Asked, derived: &Gateway, address: IpAddr) {
    let public = derived.public;
    let stopped = |comment| Expected::Stopped("forward", comment);
    asked.voice(address);
    asked.own((address, OUTSIDE_V4[0], ASK), Expected::Answered);
    asked.by(public, (OUTSIDE_V4[0], address, ASK), Expected::Arrives);
    asked.by(public, (OUTSIDE_V4[0], address, CALL), Expected::Stopped("input", rule::CLOSED));
    asked.by(public, (OUTSIDE_V4[0], PRIVATE_V4, ASK), stopped(rule::BOGON_OUT_V4));
    asked.by(public, (PRIVATE_V4, OUTSIDE_V4[0], ASK), stopped(rule::BOGON_IN_V4));
    asked.unasked(public, (OUTSIDE_V4[0], OUTSIDE_V4[1], ASK), stopped(rule::UNCONNECTED));
}

fn of_network(asked: &mut Asked, gateway: &Gateway, network: &[Member<'_>], stranger: Option<&Member<'_>>) {
    let (link, sender) = (network[0].derived.to_exit, &network[1]);
    let from = sender.address();
    let closed = |member: &Member<'_>| Expected::StoppedAt(member.place.clone(), "input", rule::CLOSED);
    asked.by(link, (OUTSIDE[0], OUTSIDE[1], ASK), Expected::Stopped("source", rule::SPOOFED));
    asked.by(link, (from, from, ASK), Expected::Stopped("forward", rule::HAIRPIN));
    asked.by(link, (from, OUTSIDE[0], ASK), Expected::Outside(from));
    asked.by(gateway.public, (OUTSIDE[0], from, ASK), closed(sender));
    asked.by(gateway.public, (from, from, ASK), Expected::Stopped("source", rule::OWN_SOURCE));
    if let Some(stranger) = stranger {
        asked.by(link, (from, stranger.address(), ASK), closed(stranger));
    }
}

fn of_network_v4(
    asked: &mut Asked,
    gateway: &Gateway,
    network: &[Member<'_>],
    (public, has_ports): (Option<IpAddr>, bool),
) {
    let (link, from) = (network[0].derived.to_exit, network[1].address_v4());
    let stopped = |comment| Expected::Stopped("forward", comment);
    asked.by(link, (from, from, ASK), stopped(rule::TENANTS_V4));
    for load in [ASK, CALL, Load::Udp(CLOSED_PORT)] {
        let expected = match public {
            None => Expected::Refused,
            Some(_) if !has_ports => stopped(rule::NO_PORTS),
            Some(address) => Expected::Outside(address),
        };
        asked.by(link, (from, OUTSIDE_V4[0], load), expected);
        if public.is_some() && has_ports {
            asked.by(link, (from, OUTSIDE_V4[0], load), Expected::StoppedInACrowd("forward", rule::SHARE));
        }
    }
    if public.is_some() {
        let untranslatable = if has_ports { rule::UNTRANSLATABLE } else { rule::NO_PORTS };
        asked.by(link, (from, OUTSIDE_V4[0], GRE), stopped(untranslatable));
        asked.unasked(link, (from, OUTSIDE_V4[0], ASK), stopped(rule::UNCONNECTED));
        asked.by(gateway.public, (OUTSIDE_V4[0], from, ASK), stopped(rule::UNASKED_V4));
    }
    asked.by(link, (from, GATEWAY_LOOPBACK_V4.into(), ASK), Expected::Arrives);
}

/// A public IPv4 address that is the network's own.
fn of_own_address(asked: &mut Asked, gateway: &Gateway, farm: &Farm, network: &Network) {
    let own = farm.ledger.grants_of(network.id()).find_map(|(_, grant)| grant.own_v4);
    let Some(own) = own.filter(|_| !network.own_v4().is_none()).map(IpAddr::V4) else { return };
    let full = || Expected::StoppedInACrowd("forward", rule::SHARE_IN);
    let load = |forward: &Forward| match forward.protocol {
        Protocol::Tcp => Load::Tcp(forward.port),
        Protocol::Udp => Load::Udp(forward.port),
    };
    let ports = network.own_v4().forwards.iter().map(load);
    for load in network.own_v4().whole.iter().map(|_| ASK).chain(ports) {
        asked.by(gateway.public, (OUTSIDE_V4[0], own, load), full());
    }
    let members = members(farm, network);
    let (link, from) = (members[0].derived.to_exit, members[1].address_v4());
    asked.by(link, (from, own, ASK), Expected::Stopped("input", rule::OWN_INSIDE));
}
