//! What derives, as rows of key, value and note: one list serves the table and the JSON document.

use serde_json::{Map, Value, json};
use sixfold_core::addr::{
    Allocation, Carving, GATEWAY_LOOPBACK_V4, Gateway, PORT_ADDRESS, PrefixIndex, Resource, Workload,
};
use sixfold_core::id::ExitSlot;

use crate::table;

/// A title and what stands under it.
pub(super) struct Section {
    /// Key of the JSON document.
    key: &'static str,
    title: String,
    body: Body,
}

enum Body {
    /// Key, value, note.
    Rows(Vec<(&'static str, Value, String)>),
    /// A column each.
    Table(Vec<&'static str>, Vec<Vec<Value>>),
    /// Lines to paste.
    Lines(Vec<String>),
}

fn row(key: &'static str, value: impl ToString, note: &str) -> (&'static str, Value, String) {
    (key, Value::String(value.to_string()), note.to_owned())
}

fn count(key: &'static str, value: u64, note: &str) -> (&'static str, Value, String) {
    (key, json!(value), note.to_owned())
}

/// A prefix that holds several /48s.
pub(super) fn carving(carving: &Carving) -> Section {
    let all = carving.allocations();
    let (first, last) = (all.clone().next(), all.clone().next_back());
    let mut rows = vec![
        row("prefix", carving.prefix(), "as given"),
        count("allocations", carving.count(48), "/48s in it; each gets a number with its first slot"),
        count("slots", carving.count(48) * 15, "/52s that a gateway can hold, 15 of each /48"),
        count("resources", carving.count(48) * 61_184, "/64s that can be granted, 61,184 of each /48"),
    ];
    rows.extend(
        first.map(|first| row("first", first, "what derives from it: sixfold addr with this prefix")),
    );
    rows.extend(last.map(|last| row("last", last, "")));
    Section {
        key: "carving",
        title: format!("{} is carved into /48s", carving.prefix()),
        body: Body::Rows(rows),
    }
}

/// One /48 as a whole.
pub(super) fn allocation(allocation: &Allocation) -> Section {
    let rows = vec![
        row("prefix", allocation.whole(), "the /48"),
        count("number", allocation.number().get().into(), "n: names end in it"),
        row("zero", allocation.zero(), "never granted"),
        row("segment", allocation.segment(), "between upstream router and gateways"),
        row("router", Gateway::router_in(allocation.whole()), "the upstream router's address on the segment"),
        row("router_link_local", PORT_ADDRESS, "and its link-local one: the gateways' next hop"),
    ];
    Section { key: "allocation", title: format!("Allocation {}", allocation.whole()), body: Body::Rows(rows) }
}

/// The 15 slots of a /48.
pub(super) fn slots(allocation: &Allocation) -> Section {
    let rows = ExitSlot::all().map(|slot| {
        let gateway = Gateway::derive(allocation, slot);
        let text = |value: &dyn ToString| Value::String(value.to_string());
        vec![
            json!(slot.get()),
            text(&gateway.slice),
            text(&gateway.netns),
            text(&gateway.public),
            text(&gateway.public_address),
        ]
    });
    let head = vec!["slot", "slice", "netns", "link", "address"];
    Section { key: "slots", title: "Exit slots".to_owned(), body: Body::Table(head, rows.collect()) }
}

/// What the upstream router must know: one static route for each slot in use, and one that refuses the rest, which its
/// default route would send back to where it came from (RFC 7084, WPD-5).
pub(super) fn routes(allocation: &Allocation, slots: impl IntoIterator<Item = ExitSlot>) -> Section {
    let slots = slots.into_iter().map(|slot| {
        let gateway = Gateway::derive(allocation, slot);
        format!("ip -6 route replace {} via {}", gateway.slice, gateway.public_address.addr())
    });
    let rest = format!("ip -6 route replace unreachable {}", allocation.whole());
    let title =
        "Static routes of the upstream router, for the slots in use and to refuse the rest".to_owned();
    Section { key: "upstream_routes", title, body: Body::Lines(slots.chain([rest]).collect()) }
}

/// What it must know instead of a slot that has two next hops.
pub(super) fn routes_ecmp(allocation: &Allocation, slot: ExitSlot) -> Section {
    let gateway = Gateway::derive(allocation, slot);
    let hops = [gateway.public_address, gateway.second_address];
    let hops: String = hops.iter().map(|hop| format!(" nexthop via {}", hop.addr())).collect();
    let title = "The slot's route in its place, if the farm says ecmp of it".to_owned();
    let lines = vec![format!("ip -6 route replace {}{hops}", gateway.slice)];
    Section { key: "upstream_routes_ecmp", title, body: Body::Lines(lines) }
}

/// The indices of one slot.
pub(super) fn indices(slot: ExitSlot) -> Section {
    let mut all = PrefixIndex::of_slot(slot);
    let number = all.clone().count() as u64;
    let (first, last) = (all.next(), all.next_back());
    let mut rows = vec![count("grantable", number, "indices: as many network resources")];
    rows.extend(first.map(|first| row("first", first, "")));
    rows.extend(last.map(|last| row("last", last, "")));
    Section { key: "indices", title: format!("Indices of slot {slot}"), body: Body::Rows(rows) }
}

/// The gateway of one slot.
pub(super) fn gateway(gateway: &Gateway) -> Section {
    let rows = vec![
        count("slot", gateway.slot.get().into(), "X"),
        row("slice", gateway.slice, "what the upstream router sends to it"),
        row("netns", gateway.netns, "its namespace"),
        row("public", gateway.public, "GWPubName: its link to the segment"),
        row("public_address", gateway.public_address, "GWPubIP6"),
        row("public_link_local", gateway.public_link_local, "GWPubLL"),
        row("public_mac", gateway.public_mac, "moves with the slot"),
        row("second_address", gateway.second_address, "of a slot with ecmp: its second next hop"),
        row("second_link_local", gateway.second_link_local, "the same, link-local"),
        row("second_mac", gateway.second_mac, "of the node that is that alone"),
        row("loopback_v4", GATEWAY_LOOPBACK_V4, "on lo: what an IPv4 traceroute shows"),
    ];
    Section { key: "gateway", title: format!("Gateway of slot {}", gateway.slot), body: Body::Rows(rows) }
}

/// One network resource.
pub(super) fn resource(resource: &Resource, index: PrefixIndex) -> Section {
    let rows = vec![
        row("index", index, "i, as NIB"),
        row("prefix", resource.prefix, "its network's IPv6 here"),
        row("prefix_v4", resource.prefix_v4, "its network's IPv4 here"),
        row("netns", resource.netns, "its namespace"),
        row("wireguard", resource.wireguard, "WGName: its tunnel"),
        row("wireguard_address", resource.wireguard_address, "WGLL"),
        row("wireguard_address_v4", resource.wireguard_address_v4, "WGIP4RT; its /32 is a peer's allowed IP"),
        count("wireguard_port", u64::from(resource.wireguard_port), "asked for; the one it got is reported"),
        row("local_address", resource.local_address, "NRLocalIP6: on lo, or /64 with a bridge"),
        row(
            "local_address_v4",
            resource.local_address_v4,
            "NRLocalIP4: on lo and ports, or /24 with a bridge",
        ),
        row("local", resource.local, "NRLocalName: to its bridge, if there is one"),
        row("bridge", resource.bridge, "in the host's namespace, if asked for"),
    ];
    Section { key: "resource", title: format!("Network resource {index}"), body: Body::Rows(rows) }
}

/// What a resource has besides if it is an exit point.
pub(super) fn exit_point(resource: &Resource) -> Section {
    let rows = vec![
        row("exit_public", resource.exit_public, "EPPubName: its link to the gateway"),
        row("exit_public_address", resource.exit_public_address, "EPPubLL"),
        row("exit_public_mac", resource.exit_public_mac, ""),
        row("exit_loopback_v4", format!("{}/32", resource.exit_loopback_v4), "EPPubIP4R: on lo"),
        row("to_exit", resource.to_exit, "GWtoEPName: the gateway's link to it"),
        row(
            "to_exit_address",
            resource.to_exit_address,
            "GWtoEPLL: its default gateway, for both families (on no link)",
        ),
        row("to_exit_mac", resource.to_exit_mac, ""),
    ];
    Section { key: "exit_point", title: "If it is an exit point".to_owned(), body: Body::Rows(rows) }
}

/// One workload of a resource.
pub(super) fn workload(workload: &Workload) -> Section {
    let rows = vec![
        count("number", workload.number.get().into(), "k"),
        row("netns", workload.netns, "its namespace, where the agent makes it"),
        row("address", workload.address, "on its own end"),
        row("address_v4", workload.address_v4, "on its own end"),
        row("port", workload.port, "the near end, in the resource's namespace"),
        row("near_mac", workload.near_mac, ""),
        row("far_mac", workload.far_mac, "of its own end"),
    ];
    Section { key: "workload", title: format!("Workload {}", workload.number), body: Body::Rows(rows) }
}

/// Sections below each other.
pub(super) fn text(sections: &[Section]) -> String {
    let sections = sections.iter().map(|section| {
        let body = match &section.body {
            Body::Rows(rows) => {
                let cells =
                    rows.iter().map(|(key, value, note)| vec![(*key).to_owned(), plain(value), note.clone()]);
                table::render(&[], cells)
            }
            Body::Table(head, rows) => {
                table::render(head, rows.iter().map(|row| row.iter().map(plain).collect()))
            }
            Body::Lines(lines) => lines.iter().map(|line| format!("{line}\n")).collect(),
        };
        format!("{}\n{body}", section.title)
    });
    sections.collect::<Vec<_>>().join("\n")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// One object with a member per section.
pub(super) fn document(sections: &[Section]) -> Value {
    let members = sections.iter().map(|section| {
        let body = match &section.body {
            Body::Rows(rows) => {
                rows.iter().map(|(key, value, _)| ((*key).to_owned(), value.clone())).collect()
            }
            Body::Table(head, rows) => {
                let keyed = |row: &Vec<Value>| -> Value {
                    head.iter()
                        .map(|key| (*key).to_owned())
                        .zip(row.iter().cloned())
                        .collect::<Map<_, _>>()
                        .into()
                };
                rows.iter().map(keyed).collect()
            }
            Body::Lines(lines) => json!(lines),
        };
        (section.key.to_owned(), body)
    });
    Value::Object(members.collect())
}
