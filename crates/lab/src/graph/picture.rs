//! What both pictures show, as texts.
//!
//! Owns: the words. Must not place anything.

use std::collections::BTreeSet;

use sixfold_core::model::{Family, Farm, Network, Node, Protocol, Slot, SlotKey, World};

/// A colour of a network that reads on white and on black.
const COLOURS: [&str; 8] =
    ["#2b7de9", "#d9480f", "#2f9e44", "#9c36b5", "#c2255c", "#0c8599", "#a07100", "#6741d9"];

pub(super) struct Picture {
    /// Where nodes are: farms with their public nodes, and homes with one hidden node each.
    pub(super) sites: Vec<Site>,
    /// The networks, in order.
    pub(super) networks: Vec<Overlay>,
}

pub(super) struct Site {
    /// What it is.
    pub(super) title: String,
    /// The router to the Internet, a line each.
    pub(super) router: Vec<String>,
    /// What joins the router and the nodes.
    pub(super) segment: String,
    pub(super) nodes: Vec<Place>,
}

/// One node.
pub(super) struct Place {
    pub(super) name: String,
    /// Addresses and slots, a line each.
    pub(super) lines: Vec<String>,
    /// For each network of the picture what it has here, a line each, if it is here.
    pub(super) members: Vec<Option<Vec<String>>>,
}

pub(super) struct Overlay {
    pub(super) name: String,
    pub(super) colour: &'static str,
    /// The node that holds its exit.
    pub(super) exit: String,
}

impl Picture {
    pub(super) fn of(world: &World) -> Self {
        let used: BTreeSet<SlotKey> = world.networks().values().map(|network| network.exit().key()).collect();
        let sites = world.farms().values().flat_map(|farm| {
            let homes = farm.nodes().values().filter(|node| node.is_hidden());
            let homes: Vec<_> = homes.map(|node| home(world, farm, node)).collect();
            std::iter::once(site(world, farm, &used)).chain(homes)
        });
        let networks = world.networks().values().enumerate().map(|(at, network)| Overlay {
            name: network.id().to_string(),
            colour: COLOURS[at % COLOURS.len()],
            exit: holder(world, network).unwrap_or_default(),
        });
        Self { sites: sites.collect(), networks: networks.collect() }
    }
}

/// A farm's upstream, segment and public nodes.
fn site(world: &World, farm: &Farm, used: &BTreeSet<SlotKey>) -> Site {
    let upstream = farm.upstream();
    let mut router = vec!["upstream router".to_owned(), upstream.next_hop.to_string()];
    router.extend(upstream.next_hop_v4.map(|address| address.to_string()));
    let routed = farm.slots().values().filter(|slot| used.contains(&slot.key()));
    router.extend(routed.map(|slot| format!("{} to slot {}", slot.key().slice(), slot.key().slot)));
    let public = || farm.nodes().values().filter(|node| !node.is_hidden());
    let nodes = public().map(|node| Place {
        name: node.id().to_string(),
        lines: public_lines(farm, node, used),
        members: members(world, node),
    });
    let allocations = farm.allocations().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Site {
        title: format!("farm {}: {allocations}", farm.id()),
        router,
        segment: "segment".to_owned(),
        nodes: nodes.collect(),
    }
}

/// A hidden node with the router that hides it.
fn home(world: &World, farm: &Farm, node: &Node) -> Site {
    let families = [(Family::Ipv6, "IPv6"), (Family::Ipv4, "IPv4")];
    let spoken = families.into_iter().filter(|(family, _)| node.speaks(*family)).map(|(_, name)| name);
    let families = spoken.collect::<Vec<_>>().join(" and ");
    let lines = vec!["hidden".to_owned(), format!("sends in {families}")];
    Site {
        title: format!("home of {}, farm {}", node.id(), farm.id()),
        router: vec!["home router".to_owned(), "NAT".to_owned()],
        segment: "home network".to_owned(),
        nodes: vec![Place { name: node.id().to_string(), lines, members: members(world, node) }],
    }
}

fn public_lines(farm: &Farm, node: &Node, used: &BTreeSet<SlotKey>) -> Vec<String> {
    let addresses = [Family::Ipv6, Family::Ipv4].into_iter().filter_map(|family| node.reachable(family));
    let mut lines: Vec<_> = addresses.map(|address| address.to_string()).collect();
    for slot in farm.slots().values().filter(|slot| slot.holders().contains(node.id())) {
        lines.extend(slot_lines(slot, node, used.contains(&slot.key())));
    }
    lines
}

fn slot_lines(slot: &Slot, node: &Node, is_used: bool) -> Vec<String> {
    let number = slot.key().slot;
    match (slot.holder() == node.id(), is_used) {
        (true, true) => {
            let leaves = slot.public_v4().map(|address| format!("IPv4 leaves as {}", address.addr()));
            std::iter::once(format!("gateway of slot {number}")).chain(leaves).collect()
        }
        (true, false) => vec![format!("slot {number}, unused")],
        (false, _) => vec![format!("may take slot {number}")],
    }
}

/// What each network has on a node.
fn members(world: &World, node: &Node) -> Vec<Option<Vec<String>>> {
    let of = |network: &Network| {
        let mut lines = Vec::new();
        if holder(world, network).as_deref() == Some(node.id().as_str()) {
            lines.push("exit point".to_owned());
        }
        if network.nodes().contains(node.id()) {
            let workloads: Vec<_> = network
                .workloads_on(node.id())
                .map(|workload| workload_line(network, &workload.name))
                .collect();
            lines.extend(if workloads.is_empty() { vec!["no workload".to_owned()] } else { workloads });
        }
        (!lines.is_empty()).then_some(lines)
    };
    world.networks().values().map(of).collect()
}

/// A workload with the ports that are open to everybody.
fn workload_line(network: &Network, name: &sixfold_core::id::Label) -> String {
    let open = network.exposures().iter().filter(|exposure| exposure.workload == *name);
    open.fold(name.to_string(), |text, exposure| {
        let protocol: Protocol = exposure.protocol;
        format!("{text}, open {protocol}/{}", exposure.port)
    })
}

/// The node that holds a network's exit.
fn holder(world: &World, network: &Network) -> Option<String> {
    let slot = world.farm(&network.exit().farm)?.slot(network.exit().key())?;
    Some(slot.holder().to_string())
}
