//! What the agent says of its node: one JSON file, replaced by rename after each pass.
//!
//! Owns: putting outcomes into the words of core's `Status`. No private key can get here: no type in it holds one.

use std::error::Error;
use std::path::Path;

use sixfold_core::addr::Gateway;
use sixfold_core::id::{NodeId, Revision};
use sixfold_core::model::{GatewayView, NetworkView, Seat, Snapshot, Status};
use sixfold_core::shown::plain;
use sixfold_core::state::Backend;
use sixfold_core::{limit, name};
use sixfold_kernel::{Failure, ObserveError};

use crate::disk::{self, DiskError};
use crate::pass::Outcome;

/// Lines of drift, and of failures: a person reads the first ones, the rest is a number.
const LINES_MAX: usize = 100;

/// What is counted since the agent started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Passes.
    pub passes: u64,
    /// Operations done.
    pub operations: u64,
}

/// Says how a pass went, with what was wrong with the feed and the disk.
#[must_use]
pub fn of_outcome(
    of: (&NodeId, Revision, Backend),
    counts: Counts,
    outcome: &Outcome,
    complaints: &[String],
) -> Status {
    let failures = complaints.iter().cloned().chain(failures(outcome));
    Status {
        in_sync: outcome.in_sync(),
        devices: outcome.devices.clone(),
        peers: outcome.peers.clone(),
        drift: short(outcome.left.steps.iter().map(|step| one_line(&step.to_string()))),
        failures: short(failures),
        foreign: short(outcome.foreign.iter().cloned()),
        ..blank(of, counts)
    }
}

/// Where the kernel carries WireGuard: how many networks with a resource here lose what comes by the second next hop of their slot.
/// A peer's source is its own alone there (docs/adr/0035).
#[must_use]
pub(crate) fn half_lost(snapshot: &Snapshot, backend: Backend) -> Option<String> {
    let node = snapshot.node.id();
    let is_here = |network: &&NetworkView| {
        network.resources.iter().any(|resource| resource.seat == Seat::Node(node.clone()))
    };
    let lose = snapshot.networks.iter().filter(|network| network.ecmp).filter(is_here).count();
    (backend == Backend::Kernel && lose > 0).then(|| {
        format!(
            "{lose} of the networks here leave by a slot with two next hops, and this node drops what comes by the second: its kernel \
             carries WireGuard (hint: start the agent with --wireguard tunnel, or have the farmer give the slot one next hop)"
        )
    })
}

/// Where the kernel tracks fewer connections than networks may have that leave by a namespace here: `tracked` is how many it does in each.
#[must_use]
pub(crate) fn too_few_tracked(snapshot: &Snapshot, tracked: Option<u64>) -> Option<String> {
    let gateways = snapshot.gateways.iter().filter(|view| view.public_v4.is_some());
    let at = |view: &GatewayView| {
        let netns = Gateway::derive(&view.allocation, view.slot).netns;
        (netns.to_string(), view.ports.len(), limit::CONNECTIONS_PER_NETWORK)
    };
    let own = (name::netns_egress().to_string(), snapshot.leaving().len(), limit::CONNECTIONS_AT_A_NODE);
    let all = gateways.map(at).chain([own]).map(|(netns, networks, each)| {
        // Some for the namespace itself.
        (networks as u64 * u64::from(each) + u64::from(limit::CONNECTIONS_PER_NETWORK), netns, networks, each)
    });
    let (needed, netns, networks, each) = all.filter(|(_, _, networks, _)| *networks > 0).max()?;
    let tracked = tracked.filter(|tracked| *tracked < needed)?;
    Some(format!(
        "the kernel tracks {tracked} connections in a namespace, and {networks} networks with IPv4 in {netns} may have {each} each: one could \
         take another's (hint: sysctl -w net.netfilter.nf_conntrack_max={needed}, and the same in a file of /etc/sysctl.d)"
    ))
}

/// How many connections the kernel tracks in a namespace; nothing where it tracks none.
pub(crate) fn tracked() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max").ok()?;
    told.trim().parse().ok()
}

/// Says that the kernel could not be observed. The devices are those that were last there.
#[must_use]
pub fn of_blindness(
    of: (&NodeId, Revision, Backend),
    counts: Counts,
    error: &ObserveError,
    before: Option<&Status>,
) -> Status {
    let devices = before.map(|status| status.devices.clone()).unwrap_or_default();
    Status { devices, failures: vec![words(error, error.hint())], ..blank(of, counts) }
}

/// Says that there has never been a snapshot.
#[must_use]
pub fn of_waiting(of: (&NodeId, Backend), counts: Counts) -> Status {
    blank((of.0, Revision(0), of.1), counts)
}

fn blank((node, revision, backend): (&NodeId, Revision, Backend), counts: Counts) -> Status {
    Status {
        node: node.clone(),
        revision,
        in_sync: false,
        wireguard: match backend {
            Backend::Kernel => "kernel".to_owned(),
            Backend::Tunnel => "tunnel".to_owned(),
        },
        devices: Vec::new(),
        drift: Vec::new(),
        failures: Vec::new(),
        unknown_fields: Vec::new(),
        foreign: Vec::new(),
        registry: None,
        refusals: Vec::new(),
        peers: Vec::new(),
        exits: Vec::new(),
        heard: Vec::new(),
        passes: counts.passes,
        operations: counts.operations,
    }
}

/// Writes the status where anyone on the node may read it.
///
/// # Errors
/// If it cannot be written.
pub fn write(path: &Path, status: &Status) -> Result<(), DiskError> {
    let mut text = serde_json::to_vec_pretty(status).expect("a status's keys are all strings");
    text.push(b'\n');
    disk::replace(path, &text, 0o644)
}

/// Each failed step and each refused key with its reason and hint.
pub(crate) fn failures(outcome: &Outcome) -> impl Iterator<Item = String> + '_ {
    let keys = outcome.keys.iter().map(|(resource, error)| {
        let hint = error.hint();
        let of = format!("resource {}-{}: ", resource.index, resource.number);
        of + &words(error, hint.as_deref())
    });
    outcome.failures.iter().map(|failure| of_step(failure)).chain(keys)
}

/// A failed step in one line.
pub(crate) fn of_step(failure: &Failure) -> String {
    words(failure, failure.hint())
}

/// An error with its causes and, in brackets, what helps.
pub(crate) fn words(error: &dyn Error, hint: Option<&str>) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    if let Some(hint) = hint {
        text = format!("{text} (hint: {hint})");
    }
    one_line(&text)
}

/// What a file, a kernel or another process said is in it too: nothing but letters comes out.
pub(crate) fn one_line(text: &str) -> String {
    plain(&text.lines().map(str::trim).collect::<Vec<_>>().join(" "))
}

fn short(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    let more = lines.len().saturating_sub(LINES_MAX);
    if more > 0 {
        lines.truncate(LINES_MAX);
        lines.push(format!("and {more} more"));
    }
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

    use sixfold_core::model::{LocalV4, Provision};

    use super::*;
    use crate::ground;

    #[test]
    fn a_node_says_what_its_kernels_wireguard_drops() {
        let mut cat = ground::snapshot(&["farm.toml", "acme.toml"], "cat");
        assert_eq!(half_lost(&cat, Backend::Kernel), None);
        cat.networks[0].ecmp = true;
        assert_eq!(half_lost(&cat, Backend::Tunnel), None);
        let told = half_lost(&cat, Backend::Kernel).expect("it drops half");
        assert!(told.starts_with("1 of the networks here") && told.contains("hint:"), "{told}");
        // A node that has its exit point alone drops nothing.
        cat.networks[0].resources.retain(|resource| resource.seat == Seat::Exit);
        assert_eq!(half_lost(&cat, Backend::Kernel), None);
    }
    #[test]
    fn a_node_says_where_its_kernel_tracks_fewer_connections_than_networks_may_have() {
        let mut ant = ground::snapshot(&["farm.toml", "acme.toml", "globex.toml"], "ant");
        let told = too_few_tracked(&ant, Some(12_287)).expect("two shares, and some for the gateway");
        assert!(told.contains("2 networks with IPv4 in gw-1-1 may have 4096 each"), "{told}");
        assert!(told.contains("net.netfilter.nf_conntrack_max=12288"), "{told}");
        assert_eq!(too_few_tracked(&ant, Some(12_288)), None);
        assert_eq!(too_few_tracked(&ant, None), None, "it tracks none");
        ant.gateways.iter_mut().for_each(|view| view.public_v4 = None);
        assert_eq!(too_few_tracked(&ant, Some(1)), None, "no IPv4 leaves here");
        let way =
            LocalV4 { address: "192.168.7.50/24".parse().unwrap(), router: "192.168.7.1".parse().unwrap() };
        ant.provision = Some(Provision { local_v4: Some(way), ..Provision::none(ant.node.id().clone()) });
        let here = ant.networks.iter_mut().find(|it| it.id.tenant.as_str() == "acme").unwrap();
        here.local_v4 = true;
        let told = too_few_tracked(&ant, Some(5000)).expect("one share of a node's");
        assert!(told.contains("1 networks with IPv4 in sixfold-egress may have 1024 each"), "{told}");
    }
}
