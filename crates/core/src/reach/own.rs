//! Who reaches a workload by its network's own public IPv4 address.
//!
//! Owns: cells to such addresses, beside those to a workload's own. They are told of senders on the Internet and of
//! workloads; not of gateways, nor of echoes to an address of which only single ports lead somewhere: its gateway answers these.

use std::net::Ipv4Addr;

use super::{By, Cell, Kind, Reach, Site, Stop, Traffic, Verdict, by};
use crate::model::{Family, Grant, Network, Seat, Slot, Workload};
use crate::name::rule;

/// A network's own address as it is in use: asked for, granted beside ports, and of the pool of a slot that has IPv4.
pub(super) fn address<'a>(
    network: &Network,
    slot: &Slot,
    mut grants: impl Iterator<Item = &'a Grant>,
) -> Option<Ipv4Addr> {
    let exit = grants.find(|grant| grant.seat == Seat::Exit && grant.ports.is_some())?;
    let is_used = |own: &Ipv4Addr| slot.public_v4().is_some() && slot.pool_v4().contains(own);
    exit.own_v4.filter(|own| !network.own_v4().is_none() && is_used(own))
}

/// Whether it leads to a workload; nothing where nothing is told of that.
fn leads_to(network: &Network, workload: &Workload, traffic: Traffic) -> Option<bool> {
    let own = network.own_v4();
    if own.whole.is_some() {
        return (own.whole.as_ref() == Some(&workload.name)).then_some(true);
    }
    let mut to_it = own.forwards.iter().filter(|forward| forward.workload == workload.name).peekable();
    to_it.peek()?;
    let of_it = |forward: &crate::model::Forward| Traffic::of(forward.protocol, forward.port) == traffic;
    match traffic {
        Traffic::Echo => None,
        _ if to_it.any(of_it) => Some(true),
        _ if own.forwards.iter().any(of_it) => None,
        _ => Some(false),
    }
}

impl Reach<'_> {
    /// To the own address of a workload's network, where something leads from there to it.
    pub(super) fn own_cell(&self, from: &Site<'_>, to: &Site<'_>, traffic: Traffic) -> Option<Cell> {
        let (Kind::Workload { network, workload, own, .. }, Some(border)) = (&to.kind, &to.border) else {
            return None;
        };
        let own = (*own)?;
        let leads = leads_to(network, workload, traffic)?;
        let outward = match &from.kind {
            Kind::Gateway => return None,
            Kind::Internet => None,
            Kind::Workload { .. } => leaving(from, to, own),
        };
        let barred = || {
            let is_barred = seen(from).is_some_and(|source| border.bars(source.into()));
            is_barred.then(|| border.stops(by("forward", rule::BOGON_IN_V4)))
        };
        let closed = || (!leads).then(|| border.stops(by("input", rule::CLOSED)));
        // What leads nowhere is never forwarded, whoever sent it.
        let stop = outward.or_else(closed).or_else(barred);
        let verdict = stop.map_or(Verdict::Passes, Verdict::Stopped);
        let (from, to) = (from.party.clone(), to.party.clone());
        Some(Cell { from, to, address: Some(own.into()), family: Family::Ipv4, traffic, verdict })
    }
}

/// What stops it on the sender's side.
fn leaving(from: &Site<'_>, to: &Site<'_>, own: Ipv4Addr) -> Option<Stop> {
    let (Some(border), Kind::Workload { has_ports, local, .. }) = (&from.border, &from.kind) else {
        return None;
    };
    if let Some(local) = local {
        return local.stop(Some(own.into()));
    }
    let rule = |chain, comment| Some(border.stops(by(chain, comment)));
    match () {
        () if from.shares_gateway_with(to) => rule("input", rule::OWN_INSIDE),
        () if border.slot.public_v4().is_none() => Some(border.stops(By::Unreachable)),
        () if border.bars(own.into()) => rule("forward", rule::BOGON_OUT_V4),
        () if !has_ports => rule("forward", rule::NO_PORTS),
        () => None,
    }
}

/// The address by which a sender is seen outside.
fn seen(from: &Site<'_>) -> Option<Ipv4Addr> {
    let Kind::Workload { network, workload, own, local, .. } = &from.kind else { return None };
    if let Some(local) = local {
        return Some(local.way.address.addr());
    }
    let is_whole = network.own_v4().whole.as_ref() == Some(&workload.name);
    own.filter(|_| is_whole).or_else(|| Some(from.border.as_ref()?.slot.public_v4()?.addr()))
}
