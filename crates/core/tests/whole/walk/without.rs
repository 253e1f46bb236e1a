//! Each rule and each `unreachable` route taken away in turn: some packet must then fare otherwise than the model tells.
//!
//! A rule that can match nothing where it stands (an empty set, a link that is not there) is passed over there; the same
//! rule must stand, and be missed, where it can. What no packet misses is listed with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;
use sixfold_core::addr::Resource;
use sixfold_core::id::NodeId;
use sixfold_core::model::{Grant, ResourceKey};
use sixfold_core::name::{self, IfName, NetnsRole, rule};
use sixfold_core::reach::Cell;
use sixfold_core::state::{ChainName, LinkKind, Namespace, Netns, NodeState, RouteKey, RouteTarget};

use super::differential::{cells, difference};
use super::questions::{Question, questions, questions_without_tunnels};
use super::rules::{self, Memory};
use super::{Load, Packet, Place, Walker};
use crate::any::any_farm;
use crate::farm::Farm;

/// Rules that no packet misses: role, chain, comment and why it stands all the same.
const SPARE: [[&str; 4]; 9] = [
    ["public", "forward", "closed", "the sysctl refuses first; this holds while somebody has set it"],
    [
        "public",
        "input",
        "who may hold a slot tells who does",
        "in a flood of others, where it is asked by others; where it is not see gossip.rs",
    ],
    ["gateway", "input", "its router asks", "in a flood of others, of which no single packet tells"],
    ["gateway", "input", "who has no address asks", "likewise"],
    [
        "gateway",
        "source",
        rule::LAST_HOP,
        "of a flood, which no single packet is; this and more in kernel/tests/gateway_limits.rs",
    ],
    ["gateway", "source", rule::LAST_HOP_V4, "likewise"],
    ["egress", "source", rule::LAST_HOP_V4, "likewise"],
    [
        "gateway",
        "forward",
        rule::BANDWIDTH_SENT,
        "of more than one packet; see kernel/tests/gateway_probes.rs",
    ],
    ["gateway", "forward", rule::BANDWIDTH_RECEIVED, "likewise"],
];

/// `unreachable` routes that no packet misses: role, which and why.
const SPARE_ROUTES: [[&str; 3]; 2] = [
    [
        "resource",
        "of another resource",
        "without its tunnel a resource has no default either: nothing leads there",
    ],
    ["gateway", "0.0.0.0/0", "without a default nothing leads there either; it says so in the plan"],
];

/// IPv4 leaves at a public node, with two networks on it, and at a hidden one.
const LOCAL: &str =
    "[[provision]]\nnode = \"bee\"\nlocal_v4 = { address = \"203.0.113.22/24\", router = \"203.0.113.1\" }
[[provision]]\nnode = \"cat\"\nlocal_v4 = { address = \"192.168.7.50/24\", router = \"192.168.7.1\" }";

/// Services of a node's own, over both protocols and families, one by an address of its own.
const SERVICES: &str = "[[provision]]\nnode = \"ant\"\nservices = [
    { address = \"2001:db8:a::50\", protocol = \"tcp\", port = 9000 },
    { address = \"203.0.113.11\", protocol = \"udp\", port = 53 },
]";

/// Two workloads on one resource, ports over both protocols, a network without ports for IPv4, a bandwidth, and hosts that are
/// guarded.
fn broad() -> Farm {
    let farm = include_str!("../../../../../examples/first-farm/farm.toml");
    let farm = farm.replace(
        "management = [\"192.0.2.0/24\"]",
        "management = [\"192.0.2.0/24\", \"2001:db8:fe::/48\"]\nhost_firewall = true",
    );
    let farm = farm.replacen("[[slot]]\n", "[[slot]]\nbandwidth = \"1 Gbit/s\"\n", 1);
    let acme = include_str!("../../../../../examples/first-farm/acme.toml");
    let globex = include_str!("../../../../../examples/first-farm/globex.toml");
    let farm = farm.replacen("[[slot]]\n", &format!("{LOCAL}\n{SERVICES}\n[[slot]]\n"), 1);
    let [acme, globex] = [acme, globex].map(|text| text.replacen("exit = {", "local_v4 = true\nexit = {", 1));
    let acme = format!(
        "{acme}\n[[workload]]\nname = \"spare\"\nnode = \"ant\"\n[[expose]]\nworkload = \"spare\"\nprotocol = \"udp\"\nport = 53\n"
    );
    let mut farm = Farm::new(&[("farm.toml", &farm), ("acme.toml", &acme), ("globex.toml", &globex)]);
    farm.take_ports("globex/lab");
    farm
}

/// What a namespace is, in a word.
fn role(netns: &Netns, ns: &Namespace) -> &'static str {
    match netns {
        Netns::Host => "host",
        Netns::Named(netns) => match netns.role().unwrap() {
            NetnsRole::Resource { .. } if ns.links.keys().any(|link| link.as_str().starts_with("pub-")) => {
                "exit point"
            }
            NetnsRole::Resource { .. } => "resource",
            NetnsRole::Gateway { .. } => "gateway",
            NetnsRole::Workload { .. } => "workload",
            NetnsRole::Public => "public",
            NetnsRole::Egress => "egress",
        },
    }
}

/// Something that is told beforehand.
enum Told {
    Cell(Cell),
    Question(Question),
}

/// All that is told of a farm, with the places that each packet comes by.
struct Examination {
    farm: Farm,
    walker: Walker,
    told: Vec<(Told, BTreeSet<Place>)>,
}

impl Examination {
    /// Panics where the sound state is not as told.
    fn new(farm: Farm, walker: Walker, questions: Vec<Question>, cells: Vec<Cell>) -> Self {
        let told = questions.into_iter().map(Told::Question).chain(cells.into_iter().map(Told::Cell));
        let (mut all, mut found) = (Self { farm, walker, told: Vec::new() }, Vec::new());
        for told in told {
            let mut memory = Memory::default();
            found.extend(all.difference(&told, &mut memory));
            all.told.push((told, memory.visited().cloned().collect()));
        }
        assert!(found.is_empty(), "{}", found.join("\n"));
        all
    }

    fn of(farm: Farm) -> Self {
        let (walker, questions, cells) = (Walker::new(&farm), questions(&farm), cells(&farm));
        Self::new(farm, walker, questions, cells)
    }

    /// While every tunnel is down, and with it all that leads there.
    fn without_tunnels(farm: Farm) -> Self {
        let (mut walker, questions) = (Walker::new(&farm), questions_without_tunnels(&farm));
        for ns in walker.states.values_mut().flat_map(|state| state.namespaces.values_mut()) {
            let tunnel = |link: &IfName| matches!(ns.links[link].kind, LinkKind::Tun { .. });
            ns.routes.retain(|_, target| !target.link().is_some_and(tunnel));
        }
        Self::new(farm, walker, questions, Vec::new())
    }

    fn difference(&self, told: &Told, memory: &mut Memory) -> Option<String> {
        match told {
            Told::Cell(cell) => difference(&self.farm, &self.walker, cell, memory),
            Told::Question(question) => question.difference(&self.walker, memory),
        }
    }

    /// Whether a packet fares otherwise while a namespace is changed. Those that come by it are asked, the sockets of
    /// tunnels by all.
    fn is_missed(&mut self, (node, netns): (&NodeId, &Netns), change: impl FnOnce(&mut Namespace)) -> bool {
        let sound = self.at(node, netns).clone();
        change(self.at(node, netns));
        let missed = match netns {
            Netns::Host => !is_guarded(&self.farm, node, &self.walker.states[node].namespaces[netns]),
            Netns::Named(name) => {
                let place = Place { node: node.clone(), netns: *name };
                let comes_by = |(_, by): &&(Told, BTreeSet<Place>)| {
                    by.contains(&place) || *name == sixfold_core::name::netns_public()
                };
                let mut asked = self.told.iter().filter(comes_by);
                asked.any(|(told, _)| self.difference(told, &mut Memory::default()).is_some())
            }
        };
        *self.at(node, netns) = sound;
        missed
    }

    fn at(&mut self, node: &NodeId, netns: &Netns) -> &mut Namespace {
        self.walker.states.get_mut(node).unwrap().at(netns.clone())
    }

    /// Those that packets come by: what is only ready for them is as what serves (`desire/moving.rs`).
    fn namespaces(&self) -> Vec<(NodeId, Netns, Namespace)> {
        let of_node = |(node, state): (&NodeId, &NodeState)| {
            let all = state.namespaces.iter().filter(|(_, ns)| !is_only_ready(ns, state));
            all.map(|(netns, ns)| (node.clone(), netns.clone(), ns.clone())).collect::<Vec<_>>()
        };
        self.walker.states.iter().flat_map(of_node).collect()
    }
}

/// Whether it is a gateway whose public link is down, or an exit point of one.
fn is_only_ready(ns: &Namespace, state: &NodeState) -> bool {
    let is_cut_off = |ns: &Namespace| ns.links.values().any(|link| !link.up && link.kind.is_outside());
    is_cut_off(ns)
        || ns.links.values().any(|link| match &link.kind {
            LinkKind::Veth { peer } => state.namespaces.get(&peer.netns).is_some_and(is_cut_off),
            _ => false,
        })
}

/// Whether a host's own firewall lets in what the farmer is promised, and nothing else.
fn is_guarded(farm: &Farm, node: &NodeId, ns: &Namespace) -> bool {
    let (farm_of, model) = farm.world.node(node).unwrap();
    let stranger: [IpAddr; 2] = ["2001:db8:ff::9".parse().unwrap(), "198.51.100.200".parse().unwrap()];
    let uplink: IfName = "uplink".parse().unwrap();
    let lets = |link: IfName, source: IpAddr, load: Load, answer: bool| {
        rules::lets_in(ns, link, Packet { source, destination: source, load, answer })
    };
    let of_tunnels = farm.ledger.grants().iter().filter(|(_, grant)| {
        let network = farm.world.network(&grant.network).unwrap();
        model.is_hidden() && farm.world.seated(network, &grant.seat).unwrap().id() == node
    });
    stranger.into_iter().all(|source| {
        lets(name::loopback(), source, Load::Tcp(9), false)
            && lets(uplink, source, Load::Tcp(9), true)
            && lets(uplink, source, Load::Control(3), false)
            && lets(uplink, source, Load::Tcp(22), false)
            && lets(uplink, source, Load::Udp(546), false)
            && lets(uplink, source, Load::Udp(68), false)
            && !lets(uplink, source, Load::Tcp(9), false)
            && !lets(uplink, source, Load::Udp(9), false)
    }) && farm_of.management().iter().all(|prefix| lets(uplink, prefix.addr(), Load::Tcp(9), false))
        && of_tunnels.into_iter().all(|(key, _)| lets(uplink, stranger[0], Load::Udp(key.index.get()), false))
}

/// How often a rule or route was missed, and how often it was not.
type Missed = BTreeMap<[String; 3], (usize, usize)>;

fn note(missed: &mut Missed, key: [&str; 3], was_missed: bool) {
    let (yes, no) = missed.entry(key.map(str::to_owned)).or_default();
    if was_missed { *yes += 1 } else { *no += 1 }
}

/// Notes each rule that can match something where it stands, and in `idle` those that cannot.
fn without_each_rule(examination: &mut Examination, missed: &mut Missed, idle: &mut BTreeSet<[String; 3]>) {
    for (node, netns, ns) in examination.namespaces() {
        let chains = ns.firewall.iter().flat_map(|table| &table.chains);
        let every = chains
            .flat_map(|(name, chain)| (0..chain.rules.len()).map(move |at| (name, at, &chain.rules[at])));
        for (name, at, rule) in every {
            let key = [role(&netns, &ns), &name.0, &rule.comment];
            if rules::is_idle(&ns, rule) {
                idle.insert(key.map(str::to_owned));
                continue;
            }
            let remove = |ns: &mut Namespace| drop(rules_of(ns, name).remove(at));
            let was_missed = examination.is_missed((&node, &netns), remove);
            note(missed, key, was_missed);
        }
    }
}

fn rules_of<'a>(ns: &'a mut Namespace, chain: &ChainName) -> &'a mut Vec<sixfold_core::state::Rule> {
    &mut ns.firewall.as_mut().unwrap().chains.get_mut(chain).unwrap().rules
}

/// Which of a namespace's `unreachable` routes one is.
fn which(key: &RouteKey, netns: &Netns, farm: &Farm) -> String {
    let own = |(key, _): &(&ResourceKey, &Grant)| {
        let allocation =
            farm.ledger.allocations().find(|allocation| allocation.number() == key.number).unwrap();
        Netns::Named(Resource::derive(&allocation, key.index).netns) == *netns
    };
    let prefix = farm.ledger.grants().iter().find(own).map(|(own, _)| {
        let allocation =
            farm.ledger.allocations().find(|allocation| allocation.number() == own.number).unwrap();
        IpNet::from(allocation.prefix(own.index))
    });
    match (key.destination, prefix) {
        (destination, Some(own)) if destination == own => "its own".to_owned(),
        (IpNet::V6(destination), _) if destination.prefix_len() == 64 => "of another resource".to_owned(),
        (IpNet::V6(_), _) => "the slot's".to_owned(),
        (destination, _) => destination.to_string(),
    }
}

#[test]
fn every_unreachable_route_is_missed_by_a_packet() {
    let mut missed = Missed::new();
    for farm in [Farm::first, Farm::two, broad, Farm::own_addresses] {
        let mut grounds = [Examination::of(farm()), Examination::without_tunnels(farm())];
        for (node, netns, ns) in grounds[0].namespaces() {
            let unreachable = ns.routes.iter().filter(|(_, target)| **target == RouteTarget::Unreachable);
            for (key, _) in unreachable {
                let remove = |ns: &mut Namespace| ns.routes.retain(|there, _| there != key);
                let was_missed = grounds.iter_mut().any(|ground| ground.is_missed((&node, &netns), remove));
                let which = which(key, &netns, &grounds[0].farm);
                note(&mut missed, [role(&netns, &ns), "routes", &which], was_missed);
            }
        }
    }
    let spare: BTreeSet<[&str; 2]> = SPARE_ROUTES.iter().map(|[role, which, _]| [*role, *which]).collect();
    let unmissed: BTreeSet<[&str; 2]> = missed
        .iter()
        .filter(|(_, (_, not))| *not > 0)
        .map(|([role, _, which], _)| [role.as_str(), which.as_str()])
        .collect();
    assert_eq!(unmissed, spare, "{missed:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn packets_come_by_every_guard_of_any_farm_as_told(farm in any_farm()) {
        let walker = Walker::new(&farm);
        let differences = questions(&farm).iter().filter_map(|question| question.difference(&walker, &mut Memory::default())).collect::<Vec<_>>();
        prop_assert!(differences.is_empty(), "{}", differences.join("\n"));
        let hosts = farm.nodes().into_iter().filter_map(|node| {
            let ns = walker.states[&node].namespaces[&Netns::Host].clone();
            Some((node, ns.firewall.is_some().then_some(ns)?))
        });
        for (node, ns) in hosts {
            prop_assert!(is_guarded(&farm, &node, &ns), "the host of {node}");
        }
    }
}

#[test]
fn every_rule_is_missed_by_a_packet() {
    let (mut missed, mut idle) = (Missed::new(), BTreeSet::new());
    for farm in [Farm::first(), Farm::two(), broad(), Farm::own_addresses()] {
        without_each_rule(&mut Examination::of(farm), &mut missed, &mut idle);
    }
    let idle_everywhere: Vec<_> = idle.iter().filter(|key| !missed.contains_key(*key)).collect();
    assert!(idle_everywhere.is_empty(), "never able to match: {idle_everywhere:#?}");
    let spare: BTreeSet<[&str; 3]> =
        SPARE.iter().map(|[role, chain, comment, _]| [*role, *chain, *comment]).collect();
    let unmissed = missed.iter().filter(|(_, (_, not))| *not > 0);
    let unmissed: Vec<String> = unmissed
        .filter(|(key, _)| !spare.contains(&[&key[0], &key[1], &key[2]].map(String::as_str)))
        .map(|(key, (yes, no))| format!("{}: {} of {}", key.join(", "), no, yes + no))
        .collect();
    assert!(unmissed.is_empty(), "nobody misses\n{}", unmissed.join("\n"));
    for [role, chain, comment, _] in SPARE {
        assert_eq!(
            missed[&[role, chain, comment].map(str::to_owned)].0,
            0,
            "{comment} is missed, so not spare"
        );
    }
    println!(
        "{} kinds of rule, {} in all",
        missed.len(),
        missed.values().map(|(yes, no)| yes + no).sum::<usize>()
    );
}
