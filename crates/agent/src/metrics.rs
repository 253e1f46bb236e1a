//! What the agent counts, as Prometheus reads it (text format 0.0.4), and whether it lives and is ready.
//!
//! ```text
//! loop ──▶ Figures ◀── asker ──▶ /metrics   sixfold_agent_... and sixfold_gateway_..., sixfold_local_v4_..., and sixfold_tunnel_... as the tunnel process sums them up
//!                                /healthz   the loop goes round
//!                                /readyz    in sync with the newest snapshot
//! ```
//!
//! Owns: which there are, and the words. Every value is a sum that is there already: an answer takes the same work however many
//! resources there are. No tenant, network or node is named: labels have few values.

mod serve;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sixfold_api::metrics::Text;
use sixfold_core::id::Revision;
use sixfold_core::model::Status;
use sixfold_kernel::nft::Counter;
use sixfold_kernel::tunnel::{Totals, TunnelError};

use crate::exits::gossip::Words;
use crate::pass::Sums;
use crate::traffic::Flow;

pub use self::serve::Metrics;

/// The loop goes round at least so often: longer than the longest pass, as the service's watchdog has it.
const ROUND_MAX: Duration = Duration::from_secs(300);

/// What is counted, between the loop and whoever asks.
#[derive(Debug, Default)]
pub struct Figures(Mutex<Held>);

#[derive(Debug, Clone, Default)]
struct Held {
    round: Option<Instant>,
    last: Option<Last>,
}

/// What a pass came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured<'a> {
    pub(crate) status: &'a Status,
    /// Operations that are left to do.
    pub(crate) left: usize,
    pub(crate) took: Duration,
    pub(crate) sums: Sums,
    pub(crate) flow: &'a Flow,
    pub(crate) leaving: &'a Flow,
    pub(crate) said: Words,
}

#[derive(Debug, Clone)]
struct Last {
    revision: Revision,
    in_sync: bool,
    /// The lines of a status, which has the first hundred of each kind.
    failures: usize,
    refusals: usize,
    foreign: usize,
    devices: usize,
    registry: Option<Registry>,
    passes: u64,
    operations: u64,
    left: usize,
    took: Duration,
    sums: Sums,
    flow: Flow,
    leaving: Flow,
    said: Words,
}

#[derive(Debug, Clone, Copy)]
struct Registry {
    connected: bool,
    held: bool,
    received_bytes: u64,
}

impl Figures {
    /// The loop goes round.
    pub(crate) fn lives(&self, now: Instant) {
        self.held().round = Some(now);
    }

    pub(crate) fn measured(&self, measured: Measured<'_>) {
        let Measured { status, left, took, sums, flow, leaving, said } = measured;
        let registry = status.registry.as_ref().map(|registry| Registry {
            connected: registry.connected,
            held: registry.held.is_some(),
            received_bytes: registry.received_bytes,
        });
        self.held().last = Some(Last {
            revision: status.revision,
            in_sync: status.in_sync,
            failures: status.failures.len(),
            refusals: status.refusals.len(),
            foreign: status.foreign.len(),
            devices: status.devices.len(),
            registry,
            passes: status.passes,
            operations: status.operations,
            left,
            took,
            sums,
            flow: flow.clone(),
            leaving: leaving.clone(),
            said,
        });
    }

    /// Whether the loop goes round.
    ///
    /// # Errors
    /// Says in words that it does not.
    pub fn health(&self, now: Instant) -> Result<&'static str, String> {
        match self.held().round.map(|round| now.saturating_duration_since(round)) {
            Some(age) if age < ROUND_MAX => Ok("the agent goes round"),
            Some(age) => Err(format!("the agent has not gone round for {} s", age.as_secs())),
            None => Err("the agent has not gone round yet".to_owned()),
        }
    }

    /// Whether the node is what its snapshot asks for.
    ///
    /// # Errors
    /// Says in words what it waits for.
    pub fn readiness(&self, now: Instant) -> Result<String, String> {
        self.health(now)?;
        match &self.held().last {
            Some(Last { in_sync: true, revision, .. }) => Ok(format!("in sync at revision {revision}")),
            Some(Last { revision, left, .. }) => {
                Err(format!("not in sync at revision {revision}: {left} operations are left to do"))
            }
            None => Err("there has been no snapshot yet".to_owned()),
        }
    }

    /// What is counted here, as text.
    #[must_use]
    pub fn text(&self) -> String {
        let Some(last) = self.held().last.clone() else { return String::new() };
        let mut text = Text::default();
        of_passes(&mut text, &last);
        of_peers(&mut text, &last.sums);
        of_gateways(&mut text, &last.flow);
        of_leaving(&mut text, &last.leaving);
        of_words(&mut text, last.said);
        if let Some(registry) = last.registry {
            text.gauge(
                "agent_registry_connected",
                "Whether the registry answers.",
                u8::from(registry.connected),
            );
            let help = "Whether what the registry shows is not followed, because it is of the past.";
            text.gauge("agent_registry_held", help, u8::from(registry.held));
            let help = "Bytes of what the registry showed.";
            text.counter("agent_registry_received_bytes", help, registry.received_bytes);
        }
        text.finish()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Values are put in whole: one who panicked left none by half.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the tunnel process counts, as text; one that does not run counts nothing.
#[must_use]
pub fn of_tunnel(totals: &Result<Totals, TunnelError>) -> String {
    let mut text = Text::default();
    text.gauge("tunnel_up", "Whether the tunnel process answers.", u8::from(totals.is_ok()));
    let Ok(totals) = totals else { return text.finish() };
    text.gauge("tunnel_devices", "Devices that it hosts.", totals.devices);
    let help =
        "Devices that do without an offload, or as large a buffer as is asked for: see sixfold tunnel show.";
    text.gauges("tunnel_devices_lacking", help, "what", &totals.lacking);
    for (what, help, value) in [
        ("received_bytes", "Bytes of datagrams received.", totals.rx_bytes),
        ("received_packets", "Datagrams received.", totals.rx_packets),
        ("sent_bytes", "Bytes of datagrams sent.", totals.tx_bytes),
        ("sent_packets", "Datagrams sent.", totals.tx_packets),
    ] {
        text.counter(&format!("tunnel_{what}"), help, value);
    }
    let drops = totals.drops.iter().map(|(reason, count)| ([("reason", reason.as_str())], count));
    let help = "Packets and datagrams that went no further, by reason.";
    text.counters("tunnel_dropped_packets", help, drops);
    text.finish()
}

fn of_passes(text: &mut Text, last: &Last) {
    text.gauge("agent_in_sync", "Whether the last plan came out empty.", u8::from(last.in_sync));
    text.gauge("agent_revision", "Revision of the snapshot in use.", last.revision);
    text.gauge("agent_left_operations", "Operations that are left to do.", last.left);
    text.gauge("agent_failures", "Failures that the status tells of.", last.failures);
    text.gauge("agent_refusals", "What the registry showed and is not believed.", last.refusals);
    text.gauge("agent_foreign_objects", "Somebody else's, left alone.", last.foreign);
    text.gauge("agent_devices", "WireGuard devices of this node.", last.devices);
    text.gauge("agent_pass_duration_seconds", "How long the last pass took.", last.took.as_secs_f64());
    text.counter("agent_passes", "Passes since the start.", last.passes);
    text.counter("agent_operations", "Operations done since the start.", last.operations);
}

fn of_peers(text: &mut Text, sums: &Sums) {
    text.gauge("agent_peers", "Peers of all devices.", sums.peers);
    text.gauge("agent_peers_alive", "Peers with a living session.", sums.alive);
    let help = "Peers that packets have been sent to for minutes without a session.";
    text.gauge("agent_peers_silent", help, sums.silent);
    let help = "Bytes of datagrams received, as devices count them.";
    text.counter("agent_wireguard_received_bytes", help, sums.rx_bytes);
    let help = "Bytes of datagrams sent, as devices count them.";
    text.counter("agent_wireguard_sent_bytes", help, sums.tx_bytes);
}

fn of_gateways(text: &mut Text, flow: &Flow) {
    if flow.networks == 0 {
        return;
    }
    text.gauge("gateway_networks", "Networks that leave by a gateway of this node.", flow.networks);
    let help = "Packets between networks and their gateways.";
    text.counters("gateway_packets", help, each_way(flow, |counter| counter.packets));
    let help = "Bytes of these, from the network header on.";
    text.counters("gateway_bytes", help, each_way(flow, |counter| counter.bytes));
    text.counters("gateway_dropped_packets", "Packets that gateways stopped, by reason.", by_reason(flow));
}

fn of_leaving(text: &mut Text, flow: &Flow) {
    if flow.networks == 0 {
        return;
    }
    text.gauge("local_v4_networks", "Networks whose IPv4 leaves at this node itself.", flow.networks);
    let help = "Packets between networks and the node's own way out.";
    text.counters("local_v4_packets", help, each_way(flow, |counter| counter.packets));
    let help = "Bytes of these, from the network header on.";
    text.counters("local_v4_bytes", help, each_way(flow, |counter| counter.bytes));
    let help = "Packets that the node's own way out stopped, by reason.";
    text.counters("local_v4_dropped_packets", help, by_reason(flow));
}

fn each_way(flow: &Flow, of: fn(&Counter) -> u64) -> [([(&'static str, &'static str); 1], u64); 2] {
    [("out", flow.sent), ("in", flow.received)]
        .map(|(direction, counter)| ([("direction", direction)], of(&counter)))
}

fn by_reason(flow: &Flow) -> impl Iterator<Item = ([(&'static str, &'static str); 1], u64)> + '_ {
    flow.drops.iter().map(|(reason, count)| ([("reason", *reason)], *count))
}

fn of_words(text: &mut Text, said: Words) {
    let Words { newer, known, older, refused, astray, said } = said;
    let heard =
        [("newer", newer), ("known", known), ("older", older), ("refused", refused), ("astray", astray)];
    let help = "What other nodes said of who holds exit slots, by what became of it.";
    text.counters("agent_words_heard", help, heard.map(|(outcome, count)| ([("outcome", outcome)], count)));
    text.counter("agent_words_said", "What this node said to others of who holds exit slots.", said);
}

#[cfg(test)]
mod tests;
