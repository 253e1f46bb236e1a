//! Of resources and exit points.

use std::net::IpAddr;

use sixfold_core::addr::{Resource, Workload};
use sixfold_core::mesh;
use sixfold_core::model::{Network, Protocol, Seat};
use sixfold_core::name::rule;

use super::{Asked, CLOSED_PORT, Expected, Load, Member, OUTSIDE, OUTSIDE_V4, Place, Question, members};
use crate::farm::Farm;

const ASK: Load = Load::Echo;
const CALL: Load = Load::Tcp(CLOSED_PORT);

/// Addresses of a resource's prefixes that nobody has.
fn unused(derived: &Resource) -> (IpAddr, IpAddr) {
    let (v6, v4) = (derived.prefix.hosts().nth(0xfffe).unwrap(), derived.prefix_v4.broadcast());
    (v6.into(), v4.into())
}

pub(super) fn questions(farm: &Farm, network: &Network) -> Vec<Question> {
    let members = members(farm, network);
    let (exit, resources) = members.split_first().unwrap();
    let mut all = exit_point(farm, exit, resources);
    for (at, resource) in resources.iter().enumerate() {
        let other = if at > 0 { &resources[0] } else { resources.get(1).unwrap_or(exit) };
        all.extend(of_resource(resource, other));
        all.extend(of_workloads(farm, network, resource, other));
    }
    all
}

/// What a resource and an exit point must both do.
fn of_both(asked: &mut Asked, me: &Member<'_>, other: &Member<'_>) {
    let (tunnel, (nobody, nobody_v4)) = (me.derived.wireguard, unused(&me.derived));
    asked.by(tunnel, (other.address(), nobody, ASK), Expected::Refused);
    asked.by(tunnel, (other.address_v4(), nobody_v4, ASK), Expected::Refused);
    asked.by(tunnel, (other.address(), me.address(), ASK), Expected::Arrives);
    asked.by(tunnel, (other.address(), me.address(), CALL), Expected::Stopped("input", rule::CLOSED));
    asked.voice(me.address());
}

fn of_resource(me: &Member<'_>, other: &Member<'_>) -> Vec<Question> {
    let mut asked = Asked::of(me.place.clone());
    of_both(&mut asked, me, other);
    let (tunnel, (nobody, nobody_v4)) = (me.derived.wireguard, unused(&me.derived));
    let spoofed = || Expected::Stopped("source", rule::SPOOFED);
    asked.by(tunnel, (nobody, me.address(), ASK), spoofed());
    asked.by(tunnel, (nobody_v4, me.address_v4(), ASK), spoofed());
    asked.by(tunnel, (OUTSIDE[0], nobody, ASK), Expected::Refused);
    let by_exit = if me.leaves_here { spoofed() } else { Expected::Refused };
    asked.by(tunnel, (OUTSIDE_V4[0], nobody_v4, ASK), by_exit);
    asked.by(tunnel, (other.address_v4(), me.address_v4(), ASK), Expected::Arrives);
    asked.voice(me.address_v4());
    let there =
        if *other.seat == Seat::Exit { other.derived.exit_loopback_v4.into() } else { other.address_v4() };
    asked.own((me.address(), other.address(), ASK), Expected::Answered);
    asked.own((me.address_v4(), there, ASK), Expected::Answered);
    let around = (OUTSIDE[0], OUTSIDE[1]);
    asked.unasked(tunnel, (around.0, around.1, ASK), Expected::Stopped("forward", rule::UNCONNECTED));
    asked.by(tunnel, (around.0, around.1, CALL), Expected::Stopped("forward", rule::NOT_EXPOSED));
    asked.by(tunnel, (around.0, around.1, CALL), Expected::Clamped);
    asked.questions
}

fn of_workloads(farm: &Farm, network: &Network, me: &Member<'_>, other: &Member<'_>) -> Vec<Question> {
    let mut asked = Asked::of(me.place.clone());
    let (tunnel, node) = (me.derived.wireguard, me.place.node.clone());
    let allocation = farm.ledger.allocation(network.exit().prefix).unwrap();
    for workload in network.workloads_on(&node) {
        let derived = Workload::derive(&allocation, me.derived.index, workload.number);
        let (port, address): (_, IpAddr) = (derived.port, derived.address.into());
        let there = || Expected::ArrivesAt(Place { node: node.clone(), netns: derived.netns });
        let stranger = "fe80::bad".parse().unwrap();
        asked.by(port, (stranger, OUTSIDE[0], ASK), Expected::Stopped("source", rule::LINK_LOCAL));
        asked.by(port, (OUTSIDE[1], OUTSIDE[0], ASK), Expected::Stopped("source", rule::SPOOFED));
        asked.unasked(port, (address, OUTSIDE[0], ASK), Expected::Stopped("forward", rule::UNCONNECTED));
        asked.by(port, (address, OUTSIDE[0], ASK), Expected::Outside(address));
        asked.by(port, (address, me.address(), ASK), Expected::Arrives);
        asked.by(tunnel, (other.address(), address, CALL), there());
        asked.by(tunnel, (other.address_v4(), derived.address_v4.into(), CALL), there());
        asked.by(tunnel, (OUTSIDE[0], address, CALL), Expected::Stopped("forward", rule::NOT_EXPOSED));
        for exposure in network.exposures().iter().filter(|exposure| exposure.workload == workload.name) {
            let load = match exposure.protocol {
                Protocol::Tcp => Load::Tcp(exposure.port),
                Protocol::Udp => Load::Udp(exposure.port),
            };
            asked.by(tunnel, (OUTSIDE[0], address, load), there());
        }
    }
    asked.questions
}

fn exit_point(farm: &Farm, me: &Member<'_>, resources: &[Member<'_>]) -> Vec<Question> {
    let mut asked = Asked::of(me.place.clone());
    let (tunnel, out) = (me.derived.wireguard, me.derived.exit_public);
    let spoofed = || Expected::Stopped("source", rule::SPOOFED);
    asked.by(tunnel, (OUTSIDE[0], OUTSIDE[1], ASK), spoofed());
    asked.by(tunnel, (OUTSIDE_V4[0], OUTSIDE_V4[1], ASK), spoofed());
    asked.by(out, (OUTSIDE[0], unused(&me.derived).0, ASK), Expected::Refused);
    asked.by(out, (OUTSIDE_V4[0], unused(&me.derived).1, ASK), Expected::Refused);
    asked.by(out, (OUTSIDE[0], OUTSIDE[1], ASK), Expected::Stopped("forward", rule::HAIRPIN));
    asked.voice(me.derived.exit_loopback_v4.into());
    let groups = (me.address(), OUTSIDE[0], Load::Control(143));
    asked.own(groups, Expected::Stopped("output", "nobody listens to groups"));
    for other in resources {
        of_both(&mut asked, me, other);
        let loopback_v4 = me.derived.exit_loopback_v4.into();
        asked.by(tunnel, (other.address_v4(), loopback_v4, ASK), Expected::Arrives);
        asked.by(tunnel, (other.address(), OUTSIDE[0], ASK), Expected::Outside(other.address()));
        asked.by(tunnel, (other.address(), OUTSIDE[0], CALL), Expected::Clamped);
        asked.by(tunnel, (other.address(), OUTSIDE[0], CALL), Expected::Untracked);
        let closed = Expected::StoppedAt(other.place.clone(), "input", rule::CLOSED);
        asked.by(out, (OUTSIDE[0], other.address(), ASK), closed);
        let forged = Expected::StoppedAt(other.place.clone(), "source", rule::SPOOFED);
        asked.by(tunnel, (other.address(), other.address(), ASK), forged);
    }
    for (one, other) in resources.iter().zip(resources.iter().skip(1)) {
        let reach = |member: &Member<'_>| farm.world.node(&member.place.node).unwrap().1.reach();
        let meet = mesh::direct(reach(one), reach(other)).is_some();
        let expected = if meet { Expected::TurnedDown } else { Expected::ArrivesAt(other.place.clone()) };
        asked.by(tunnel, (one.address(), other.address(), ASK), expected);
    }
    asked.questions
}

pub(super) fn questions_without_tunnel(farm: &Farm, network: &Network) -> Vec<Question> {
    let members = members(farm, network);
    let (exit, resources) = members.split_first().unwrap();
    let mut asked = Asked::of(exit.place.clone());
    for other in resources {
        asked.by(exit.derived.exit_public, (OUTSIDE[0], other.address(), ASK), Expected::Refused);
        asked.by(exit.derived.exit_public, (OUTSIDE_V4[0], other.address_v4(), ASK), Expected::Refused);
    }
    asked.questions
}
