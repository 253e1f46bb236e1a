//! What a drill would do: whom it affects and for how long, each thing with who says so.
//!
//! Owns: the words, and the document of them. Must not ask anybody.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde_json::{Value, json};
use sixfold_api::resource::Guest;
use sixfold_core::id::{Epoch, FarmId, Label, NodeId, TenantId};
use sixfold_core::model::SlotKey;
use sixfold_core::name::NetnsName;

use super::probe;
use crate::farm::kernels::nodes;
use crate::table;

/// What a planned move cost in a lab, as docs/adr/0038 and docs/figures.md have it.
const IPV6: &str = "0 of 3,200 echoes lost in a slot of 5 resources, 0 of 8,000 in one of 4,039";
/// The same of IPv4 that begins anew.
const IPV4: &str = "answers came again after 0.2 s at most";

/// A node that serves the slot, or would.
pub(super) struct Side {
    pub(super) id: NodeId,
    pub(super) name: Label,
    /// How long ago it was heard of.
    pub(super) age_secs: Option<u64>,
}

/// What is known before a drill.
pub(super) struct Prediction {
    pub(super) farm: FarmId,
    pub(super) farm_name: Label,
    pub(super) slot: SlotKey,
    pub(super) from: Side,
    pub(super) epoch: Option<Epoch>,
    pub(super) to: Side,
    pub(super) stays: bool,
    /// The networks that leave by the slot, and of how many resources of each a packet was answered.
    pub(super) guests: Vec<(Guest, usize)>,
    /// What nodes of the farm are called.
    pub(super) names: BTreeMap<NodeId, Label>,
    /// Nodes of the farm that say that their kernel carries WireGuard.
    pub(super) by_kernel: Vec<Label>,
    /// The slot's IPv4 address, and where its connections are tracked.
    pub(super) public_v4: Option<(Ipv4Addr, NetnsName)>,
}

impl Side {
    fn text(&self) -> String {
        format!("{} ({})", self.name, self.id)
    }

    fn heard(&self) -> String {
        self.age_secs.map_or_else(|| "not heard of".to_owned(), |secs| format!("heard of {secs} s ago"))
    }

    pub(super) fn document(&self) -> Value {
        json!({ "id": self.id, "name": self.name })
    }
}

impl Prediction {
    pub(super) fn text(&self) -> String {
        let Self { farm_name: farm, slot, from, to, .. } = self;
        let by = match self.epoch {
            Some(epoch) => format!("epoch {epoch}, by its own word"),
            None => "by the farmer's list".to_owned(),
        };
        let back = match self.stays {
            true => "stays     there, as --stay says".to_owned(),
            false => format!("then to   {} again, once that is ready", from.name),
        };
        let (resources, answering, between) = (self.resources(), self.answering(), self.between_ms());
        format!(
            "exit slot {slot} of farm {farm}\n\
             serves    {}, {by}; {}\n\
             goes to   {}, in sync, and its upstream router answers, by its own word; {}\n\
             {back}\n\
             affected  {}, by the registry's grants\n\
             IPv6      connections go on: nothing is kept of them at exits and gateways. In a lab a planned move had\n          {IPV6}\n\
             {}{}\
             measured  {answering} of {resources} resources answer from here; each is asked every {between} ms for some 15 s:\n          \
             a gap that is shorter may go unseen\n\n{}",
            from.text(),
            from.heard(),
            to.text(),
            to.heard(),
            self.affected(),
            self.kernels(),
            self.ipv4(),
            self.table(),
        )
    }

    fn resources(&self) -> usize {
        self.guests.iter().map(|(guest, _)| nodes(guest).count()).sum()
    }

    fn answering(&self) -> usize {
        self.guests.iter().map(|(_, answering)| answering).sum()
    }

    /// Between two packets to one of them.
    fn between_ms(&self) -> u64 {
        u64::try_from(probe::between(self.answering()).as_millis()).unwrap_or(u64::MAX)
    }

    fn affected(&self) -> String {
        let tenants: BTreeSet<&TenantId> = self.guests.iter().map(|(guest, _)| &guest.id.tenant).collect();
        let all: BTreeSet<&NodeId> = self.guests.iter().flat_map(|(guest, _)| nodes(guest)).collect();
        let [networks, tenants, resources, all] = [
            (self.guests.len(), "network"),
            (tenants.len(), "tenant"),
            (self.resources(), "resource"),
            (all.len(), "node"),
        ]
        .map(|(count, word)| super::counted(count, word));
        format!("{networks} of {tenants}: {resources} on {all}")
    }

    fn kernels(&self) -> String {
        if self.by_kernel.is_empty() {
            return String::new();
        }
        let names: Vec<&str> = self.by_kernel.iter().map(Label::as_str).collect();
        format!(
            "          on {} the kernel carries WireGuard, by their own word: what the new exit point sends them\n          \
             before they have switched is lost\n",
            names.join(", ")
        )
    }

    fn ipv4(&self) -> String {
        let Some((address, netns)) = &self.public_v4 else {
            return "IPv4      none leaves by this slot: its farmer gave it no address\n".to_owned();
        };
        let with_ports = self.guests.iter().filter(|(guest, _)| ports(guest).is_some()).count();
        let has_own = self.guests.iter().any(|(guest, _)| own_v4(guest).is_some());
        let own = if has_own { ", and by an address of its own," } else { "" };
        let times = if self.stays { "once" } else { "twice, at each move" };
        format!(
            "IPv4      every connection of {} to the Internet by {address}{own} ends, {times}; new ones are made at once,\n          \
             in a lab {IPV4}. How many there are only {}'s kernel knows:\n          \
             ip netns exec {netns} cat /proc/sys/net/netfilter/nf_conntrack_count\n",
            super::counted(with_ports, "network"),
            self.from.name,
        )
    }

    fn table(&self) -> String {
        let rows = self.guests.iter().map(|(guest, answering)| {
            let called = |id: &NodeId| self.names.get(id).map_or_else(|| id.to_string(), ToString::to_string);
            let all: Vec<String> = nodes(guest).map(called).collect();
            let own = own_v4(guest).map(|own| own.to_string());
            let speaks: Vec<String> = ports(guest).into_iter().chain(own).collect();
            let ports = if speaks.is_empty() { "-".to_owned() } else { speaks.join(", ") };
            vec![guest.id.to_string(), format!("{answering} of {}", all.len()), ports, all.join(", ")]
        });
        table::render(&["network", "answering", "IPv4 ports", "nodes"], rows)
    }

    /// The networks, each with what else there is to tell of it.
    pub(super) fn document(&self, more: impl Fn(usize) -> Value) -> Value {
        let networks = self.guests.iter().enumerate().map(|(at, (guest, answering))| {
            json!({
                "network": guest.id, "nodes": nodes(guest).collect::<Vec<_>>(), "ports_v4": ports(guest),
                "own_v4": own_v4(guest),
                "answering": answering, "loss": more(at),
            })
        });
        json!({
            "farm": self.farm, "slot": self.slot, "from": self.from.document(), "to": self.to.document(), "stays": self.stays,
            "by_kernel": self.by_kernel, "public_v4": self.public_v4.as_ref().map(|(address, _)| address),
            "between_ms": self.between_ms(),
            "networks": networks.collect::<Vec<_>>(),
        })
    }
}

/// The ports from which a network speaks IPv4.
fn ports(guest: &Guest) -> Option<String> {
    guest.grants.iter().find_map(|held| held.ports.map(|ports| ports.to_string()))
}

/// The public IPv4 address that was granted to a network, used or not.
fn own_v4(guest: &Guest) -> Option<Ipv4Addr> {
    guest.grants.iter().find_map(|held| held.own_v4)
}
