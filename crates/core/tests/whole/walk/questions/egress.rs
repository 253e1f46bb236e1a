//! Of where a node lets networks out over IPv4 itself.

use std::net::IpAddr;

use sixfold_core::addr::GATEWAY_LOOPBACK_V4;
use sixfold_core::model::{LocalV4, Node};
use sixfold_core::name::{self, rule};

use super::{Asked, CLOSED_PORT, Expected, Load, Member, OUTSIDE, OUTSIDE_V4, Place, Question, members, v4};
use crate::farm::Farm;

const ASK: Load = Load::Echo;
const CALL: Load = Load::Tcp(CLOSED_PORT);
const PRIVATE_V4: IpAddr = v4(192, 168, 0, 1);
/// A protocol without ports.
const GRE: Load = Load::Other(47);

pub(super) fn questions(farm: &Farm, node: &Node) -> Vec<Question> {
    let (of, _) = farm.world.node(node.id()).unwrap();
    let Some(local) = of.provisions().get(node.id()).and_then(|provision| provision.local_v4) else {
        return Vec::new();
    };
    let mut asked = Asked::of(Place { node: node.id().clone(), netns: name::netns_egress() });
    by_itself(&mut asked, local);
    for network in farm.world.networks().values() {
        let here = |member: &&Member<'_>| member.leaves_here && member.place.node == *node.id();
        if let Some(member) = members(farm, network).iter().find(here) {
            of_network(&mut asked, local, member);
        }
    }
    asked.questions
}

/// What has nothing to do with networks.
fn by_itself(asked: &mut Asked, local: LocalV4) {
    let (link, address) = (name::egress_link(), IpAddr::from(local.address.addr()));
    let stopped = |comment| Expected::Stopped("forward", comment);
    asked.voice(address);
    asked.own((address, OUTSIDE_V4[0], ASK), Expected::Answered);
    asked.by(link, (OUTSIDE_V4[0], address, ASK), Expected::Arrives);
    asked.by(link, (OUTSIDE_V4[0], address, CALL), Expected::Stopped("input", rule::CLOSED));
    asked.by(link, (OUTSIDE_V4[0], PRIVATE_V4, ASK), stopped(rule::BOGON_OUT_V4));
    asked.by(link, (PRIVATE_V4, OUTSIDE_V4[0], ASK), stopped(rule::BOGON_IN_V4));
    asked.by(link, (OUTSIDE_V4[0], OUTSIDE_V4[1], CALL), Expected::Clamped);
    asked.by(link, (OUTSIDE_V4[0], OUTSIDE_V4[1], CALL), stopped(rule::UNASKED_V4));
    asked.unasked(link, (OUTSIDE_V4[0], OUTSIDE_V4[1], ASK), stopped(rule::UNCONNECTED));
    asked.by(link, (OUTSIDE[0], OUTSIDE[1], ASK), Expected::Stopped("source", rule::V4_ALONE));
    asked.by(link, (OUTSIDE_V4[0], v4(10, 254, 253, 9), ASK), Expected::Refused);
    let own = GATEWAY_LOOPBACK_V4.into();
    asked.own((own, own, CALL), Expected::Arrives);
}

fn of_network(asked: &mut Asked, local: LocalV4, member: &Member<'_>) {
    let (link, from, out) = (member.derived.to_exit, member.address_v4(), name::egress_link());
    let address = IpAddr::from(local.address.addr());
    let stopped = |comment| Expected::Stopped("forward", comment);
    asked.by(link, (OUTSIDE_V4[0], OUTSIDE_V4[1], ASK), Expected::Stopped("source", rule::SPOOFED));
    asked.by(link, (member.address(), OUTSIDE[0], ASK), Expected::Stopped("source", rule::V4_ALONE));
    asked.by(link, (from, from, ASK), stopped(rule::TENANTS_V4));
    // Whoever is beside the node is the farmer's.
    asked.by(link, (from, local.router.into(), ASK), stopped(rule::BOGON_OUT_V4));
    for load in [ASK, CALL, Load::Udp(CLOSED_PORT)] {
        asked.by(link, (from, OUTSIDE_V4[0], load), Expected::Outside(address));
        asked.by(link, (from, OUTSIDE_V4[0], load), Expected::StoppedInACrowd("forward", rule::SHARE));
    }
    asked.by(link, (from, OUTSIDE_V4[0], GRE), stopped(rule::UNTRANSLATABLE));
    asked.unasked(link, (from, OUTSIDE_V4[0], ASK), stopped(rule::UNCONNECTED));
    asked.by(out, (OUTSIDE_V4[0], from, ASK), stopped(rule::UNASKED_V4));
    asked.by(link, (from, GATEWAY_LOOPBACK_V4.into(), ASK), Expected::Arrives);
}
