//! What the gateways of this machine's node, and the node itself, carried and stopped, a line for each network.

use std::collections::BTreeMap;

use sixfold_core::model::{Carried, GatewayTraffic, NetworkTraffic};
use sixfold_core::shown::plain;

use crate::table;

const HEAD: [&str; 9] =
    ["network", "exit", "sent bytes", "packets", "IPv4", "got bytes", "packets", "IPv4", "stopped"];

/// A table for each gateway, and for the node itself, below a line that names it; of IPv4 the bytes. Nothing for no gateways.
pub(crate) fn text(traffic: &[GatewayTraffic]) -> String {
    traffic.iter().map(of_gateway).collect()
}

fn of_gateway(gateway: &GatewayTraffic) -> String {
    let GatewayTraffic { allocation, slot, networks, outside_drops } = gateway;
    let mut text = match (slot, allocation) {
        (Some(slot), Some(allocation)) => format!("\ngateway of slot {slot} of {}\n", allocation.whole()),
        _ => "\nIPv4 that leaves at this node itself\n".to_owned(),
    };
    text += &table::render(&HEAD, networks.iter().map(row));
    if !outside_drops.is_empty() {
        text += &format!("  stopped of what came from outside: {}\n", drops(outside_drops));
    }
    text
}

fn row(of: &NetworkTraffic) -> Vec<String> {
    let [sent, got] = [(of.sent, of.sent_v4), (of.received, of.received_v4)].map(|(v6, v4)| {
        let all = Carried { packets: v6.packets + v4.packets, bytes: v6.bytes + v4.bytes };
        [all.bytes, all.packets, v4.bytes].map(|value| value.to_string())
    });
    let mut row = vec![of.network.to_string(), of.exit.to_string()];
    row.extend(sent.into_iter().chain(got));
    row.push(drops(&of.drops));
    row
}

fn drops(all: &BTreeMap<String, u64>) -> String {
    let told: Vec<String> = all.iter().map(|(reason, count)| format!("{count} {}", plain(reason))).collect();
    if told.is_empty() { "-".to_owned() } else { told.join(", ") }
}
