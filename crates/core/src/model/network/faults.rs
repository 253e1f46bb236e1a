//! What a network must be, by itself.
//!
//! Owns: one small function for each thing looked at. Must not look into farms: `world` does.

use std::collections::{BTreeMap, BTreeSet};

use super::NetworkDraft;
use crate::id::Label;
use crate::limit;
use crate::model::fault::{self, Fault, Found, Item};

impl NetworkDraft {
    /// Everything wrong with the network by itself.
    #[must_use]
    pub fn faults(&self) -> Vec<Found> {
        let mut found = self.member_faults();
        found.extend(self.workload_faults());
        found.extend(self.crowded());
        found.extend(self.exposure_faults());
        found.extend(self.own_v4_faults());
        if self.local_v4 && !self.own_v4.is_none() {
            found.push(Item::Whole.field("local_v4").found(Fault::LocalAndOwn));
        }
        found
    }

    fn member_faults(&self) -> Vec<Found> {
        let place = Item::Whole.field("nodes");
        let count = self.nodes.len();
        let mut found = Vec::from_iter(fault::too_many(place, "nodes", count, limit::NODES_PER_NETWORK));
        if count == 0 {
            found.push(place.found(Fault::NoNodes { network: self.id.clone() }));
        }
        let mut seen = BTreeSet::new();
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| !seen.insert(*node)) {
            found.push(Item::Whole.element("nodes", at).found(Fault::DuplicateMember { node: node.clone() }));
        }
        found
    }

    fn workload_faults(&self) -> Vec<Found> {
        let members: BTreeSet<_> = self.nodes.iter().collect();
        let (mut found, mut names, mut numbers) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
        let mut nics = BTreeMap::new();
        for (at, w) in self.workloads.iter().enumerate() {
            let item = Item::Workload(at);
            if !members.is_empty() && !members.contains(&w.node) {
                let fault = Fault::WorkloadNode { workload: w.name.clone(), node: w.node.clone() };
                found.push(item.field("node").found(fault));
            }
            if !names.insert(&w.name) {
                let fault = Fault::DuplicateWorkload { workload: w.name.clone() };
                found.push(item.field("name").found(fault));
            }
            if let Some(link) = w.nic {
                let place = item.field("nic");
                found.extend(fault::not_beside_eth0(place, link));
                if let Some(one) = nics.insert((&w.node, link), &w.name) {
                    let (node, one, other) = (w.node.clone(), one.clone(), w.name.clone());
                    found.push(place.found(Fault::NicAskedTwice { link, node, one, other }));
                }
            }
            let Some(number) = w.number else { continue };
            if let Some(other) = numbers.insert((&w.node, number), &w.name) {
                let fault = Fault::DuplicateNumber { number, node: w.node.clone(), other: other.clone() };
                found.push(item.field("number").found(fault));
            }
        }
        found
    }

    /// More workloads on one node than there are numbers: found at the first that is too many.
    fn crowded(&self) -> Vec<Found> {
        let mut by_node = BTreeMap::<_, Vec<usize>>::new();
        for (at, workload) in self.workloads.iter().enumerate() {
            by_node.entry(&workload.node).or_default().push(at);
        }
        let limit = limit::WORKLOADS_PER_RESOURCE;
        let crowds = by_node.values().filter(|on_node| on_node.len() > limit);
        crowds
            .filter_map(|on_node| {
                let place = Item::Workload(on_node[limit]).field("node");
                fault::too_many(place, "workloads on one node", on_node.len(), limit)
            })
            .collect()
    }

    fn own_v4_faults(&self) -> Vec<Found> {
        let (own, whole) = (&self.own_v4, Item::Whole.field("own_v4"));
        let names: BTreeSet<_> = self.workloads.iter().map(|workload| &workload.name).collect();
        let unknown = |workload: &Label| {
            let workloads = names.iter().map(|name| (*name).clone()).collect();
            let fault = Fault::UnknownTarget { workload: workload.clone(), workloads };
            (!names.contains(workload)).then_some(fault)
        };
        let mut found = Vec::from_iter(fault::too_many(
            Item::Whole.field(""),
            "forwarded ports",
            own.forwards.len(),
            limit::FORWARDS_PER_NETWORK,
        ));
        found.extend(own.whole.as_ref().and_then(unknown).map(|fault| whole.found(fault)));
        if let (Some(workload), false) = (&own.whole, own.forwards.is_empty()) {
            found.push(whole.found(Fault::OwnTwice { workload: workload.clone() }));
        }
        let mut seen = BTreeSet::new();
        for (at, forward) in own.forwards.iter().enumerate() {
            let (item, protocol, port) = (Item::Forward(at), forward.protocol, forward.port);
            let zero = [("port", port), ("to", forward.to)].into_iter().find(|(_, port)| *port == 0);
            found.extend(zero.map(|(field, _)| item.field(field).found(Fault::ForwardZero)));
            if !seen.insert((protocol, port)) {
                found.push(item.field("port").found(Fault::DuplicateForward { protocol, port }));
            }
            found.extend(unknown(&forward.workload).map(|fault| item.field("workload").found(fault)));
        }
        found
    }

    fn exposure_faults(&self) -> Vec<Found> {
        let count = self.exposures.len();
        let whole = Item::Whole.field("");
        let mut found =
            Vec::from_iter(fault::too_many(whole, "exposed ports", count, limit::EXPOSURES_PER_NETWORK));
        let names: BTreeSet<_> = self.workloads.iter().map(|workload| &workload.name).collect();
        let mut seen = BTreeSet::new();
        for (at, exposure) in self.exposures.iter().enumerate() {
            let (item, workload) = (Item::Exposure(at), exposure.workload.clone());
            if exposure.port == 0 {
                found.push(item.field("port").found(Fault::PortZero));
            }
            if !seen.insert(exposure) {
                let (protocol, port) = (exposure.protocol, exposure.port);
                found.push(item.field("port").found(Fault::DuplicateExposure { workload, protocol, port }));
            } else if !names.contains(&exposure.workload) {
                let workloads = names.iter().map(|name| (*name).clone()).collect();
                found.push(item.field("workload").found(Fault::UnknownWorkload { workload, workloads }));
            }
        }
        found
    }
}
