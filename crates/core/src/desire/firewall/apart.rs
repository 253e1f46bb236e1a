//! The rules of a workload that has a NIC for itself: its network and its own cable stay apart.
//!
//! What the workload says by either is its own. But who is on the cable reaches it there by the cable's addresses alone, not past its
//! resource's rules by that of its network, and passes for nobody of the network.

use super::{FILTER, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, RAW, accept, chain, drop, from, is};
use crate::addr::Workload;
use crate::desire::pieces;
use crate::name::{IfName, rule};
use crate::state::{Firewall, HookPoint, Match};

/// Says of a router on the cable that it is there (RFC 4861).
const ROUTER_ADVERTISEMENT: u8 = 134;

pub(in crate::desire) fn apart(nic: IfName, workload: &Workload) -> Firewall {
    let mut table = Firewall::default();
    let cable = is(nic);
    let itself = |kind, why| accept([from(&cable), Match::Icmpv6Type(kind)], why);
    let called = |address, why| drop([from(&cable), Match::Destination(address)], why);
    let source = vec![
        itself(NEIGHBOUR_SOLICITATION, "neighbours on its own cable ask"),
        itself(NEIGHBOUR_ADVERTISEMENT, "neighbours on its own cable answer"),
        itself(ROUTER_ADVERTISEMENT, "routers on its own cable"),
        called(pieces::host(workload.address), rule::OTHER_WAY),
        called(pieces::host(workload.address_v4), rule::OTHER_WAY_V4),
        drop([from(&cable), Match::SourceNotHere], rule::SPOOFED),
    ];
    chain(&mut table, "source", (HookPoint::Prerouting, RAW), source);
    chain(&mut table, "forward", (HookPoint::Forward, FILTER), vec![drop([], rule::APART)]);
    table
}
