//! What a farmer provides at a node: the links that its namespaces stand on.

use std::collections::{BTreeMap, BTreeSet};

use sixfold_core::addr::Allocation;
use sixfold_core::desire::desire;
use sixfold_core::model::Snapshot;
use sixfold_core::name::{self, IfName};
use sixfold_core::plan::{Op, Stage, Step, evolve, plan};
use sixfold_core::state::{LinkKind, Netns, NodeState};

use crate::farm::{Farm, bare, own, reach};

/// The first farm, whose farmer says this too.
fn first_with(more: &str) -> Farm {
    let farm = format!("{}\n{more}", include_str!("../../../../../examples/first-farm/farm.toml"));
    Farm::new(&[
        ("farm.toml", &farm),
        ("acme.toml", include_str!("../../../../../examples/first-farm/acme.toml")),
        ("globex.toml", include_str!("../../../../../examples/first-farm/globex.toml")),
    ])
}

/// The links that a node's macvlans are on, by the namespaces of these.
fn below(farm: &Farm, node: &str) -> BTreeMap<String, IfName> {
    let snapshot = farm.snapshot(&node.parse().unwrap());
    let state = desire(&snapshot, &own(&snapshot));
    let links =
        state.namespaces.iter().flat_map(|(netns, ns)| ns.links.values().map(move |link| (netns, link)));
    links
        .filter_map(|(netns, link)| match link.kind {
            LinkKind::Macvlan { parent } => Some((netns.to_string(), parent)),
            _ => None,
        })
        .collect()
}

#[test]
fn gateways_stand_on_the_link_that_is_there_for_them_and_public_on_the_nodes_own() {
    let farm = first_with("[[provision]]\nnode = \"ant\"\ngateway_nic = \"bond0.20\"");
    let by = |names: [(&str, &str); 3]| -> BTreeMap<String, IfName> {
        names.map(|(netns, link)| (netns.to_owned(), link.parse().unwrap())).into()
    };
    assert_eq!(below(&farm, "ant"), by([("gw-1-1", "bond0.20"), ("gw-2-1", "bond0.20"), ("public", "eth0")]));
    assert_eq!(below(&farm, "bee"), by([("gw-1-1", "eth0"), ("gw-2-1", "eth0"), ("public", "eth0")]));
}

const LOCAL: &str =
    "[[provision]]\nnode = \"bee\"\nlocal_v4 = { address = \"203.0.113.22/24\", router = \"203.0.113.1\" }
[[provision]]\nnode = \"cat\"\nlocal_v4 = { address = \"192.168.7.50/24\", router = \"192.168.7.1\" }";

/// Who of a node's resources leaves there, by the links of where they do.
fn let_out(farm: &Farm, node: &str) -> Option<BTreeSet<String>> {
    let state = farm.desired(&node.parse().unwrap());
    let egress = state.namespaces.get(&Netns::Named(name::netns_egress()))?;
    let cables = egress.links.keys().map(ToString::to_string).filter(|link| link.starts_with("to-"));
    Some(cables.collect())
}

#[test]
fn ipv4_leaves_at_a_node_where_both_its_farmer_and_the_networks_tenant_say_so() {
    let wants = include_str!("../../../../../examples/first-farm/acme.toml").replacen(
        "exit",
        "local_v4 = true\nexit",
        1,
    );
    let globex = include_str!("../../../../../examples/first-farm/globex.toml");
    let farm_text = include_str!("../../../../../examples/first-farm/farm.toml");
    let with = |farm: &str, acme: &str| {
        Farm::new(&[("farm.toml", farm), ("acme.toml", acme), ("globex.toml", globex)])
    };
    let provides = format!("{farm_text}\n{LOCAL}");
    let (neither, tenant) = (Farm::first(), with(farm_text, &wants));
    let (farmer, both) = (first_with(LOCAL), with(&provides, &wants));
    assert_eq!(let_out(&neither, "bee"), None);
    assert_eq!(let_out(&tenant, "bee"), None);
    assert_eq!(let_out(&farmer, "bee"), Some(BTreeSet::new()), "ready, and nobody is in it");
    assert_eq!(let_out(&both, "ant"), None, "its farmer provides it elsewhere");
    assert_eq!(let_out(&both, "bee").map(|cables| cables.len()), Some(1), "acme's and not globex's");
    assert_eq!(let_out(&both, "cat").map(|cables| cables.len()), Some(1), "of a hidden node too");
    // Nothing else of the node is other than without.
    for node in ["ant", "bee", "cat"] {
        let ids = farmer.desired(&node.parse().unwrap()).namespaces;
        let others = both.desired(&node.parse().unwrap()).namespaces;
        let differ =
            ids.iter().filter(|(netns, ns)| others[*netns] != **ns).map(|(netns, _)| netns.to_string());
        let differ: Vec<String> = differ.filter(|netns| netns != "sixfold-egress").collect();
        assert_eq!(differ.len(), usize::from(node != "ant"), "acme's resource alone: {differ:?}");
    }
}

/// What a resource of the first farm is told to do with IPv4, and where its node lets it out.
#[test]
fn the_way_out_at_a_node() {
    let wants = include_str!("../../../../../examples/first-farm/acme.toml").replacen(
        "exit",
        "local_v4 = true\nexit",
        1,
    );
    let farm = format!("{}\n{LOCAL}", include_str!("../../../../../examples/first-farm/farm.toml"));
    let farm = Farm::new(&[("farm.toml", &farm), ("acme.toml", &wants)]);
    let state = farm.desired(&"bee".parse().unwrap());
    let todo = plan(&state, &NodeState::default()).to_string();
    let of_it = todo.lines().filter(|line| line.contains("egress") || line.contains("out-"));
    insta::assert_snapshot!(of_it.collect::<Vec<_>>().join("\n"));
}

/// Two allocations may give one index to two networks, and with it the same IPv4: answers would go to one of them.
#[test]
fn of_two_networks_with_one_ipv4_at_a_node_one_leaves_there() {
    let mut snapshot = first_with(LOCAL).snapshot(&"bee".parse().unwrap());
    let mut other = snapshot.networks[0].clone();
    other.allocation =
        Allocation::new("2001:db8:b::/48".parse().unwrap(), 2_u16.try_into().unwrap()).unwrap();
    snapshot.networks.push(other);
    snapshot.networks.iter_mut().for_each(|network| network.local_v4 = true);
    snapshot.networks.reverse();
    let own = own(&snapshot);
    let cables = |snapshot: &Snapshot| {
        let state = desire(snapshot, &own);
        let egress = &state.namespaces[&Netns::Named(name::netns_egress())];
        let cables = egress.links.keys().map(ToString::to_string).filter(|link| link.starts_with("to-"));
        cables.collect::<Vec<_>>()
    };
    let all = cables(&snapshot);
    assert!(all.len() == 2 && all.iter().all(|link| link.ends_with("-1")), "{all:?}");
    snapshot.networks.retain(|network| network.allocation.number().get() == 2);
    assert!(cables(&snapshot)[0].ends_with("-2"), "alone it leaves here");
}

const SERVICES: &str = "[[provision]]\nnode = \"ant\"\nservices = [
    { address = \"2001:db8:a::50\", protocol = \"tcp\", port = 9000 },
    { address = \"2001:db8:a::50\", protocol = \"tcp\", port = 9001 },
    { address = \"203.0.113.11\", protocol = \"udp\", port = 53 },
]";

/// What there is for a node's own services: all of it in `public`, and nothing of anybody else's.
#[test]
fn services_of_a_node() {
    let (with, without) = (first_with(SERVICES), Farm::first());
    let [state, before] = [&with, &without].map(|farm| farm.desired(&"ant".parse().unwrap()));
    let todo = plan(&state, &before);
    insta::assert_snapshot!(todo.to_string());
    assert!(todo.steps.iter().all(|step| step.netns == Netns::Named(name::netns_public())));
    let back = plan(&before, &state).to_string();
    assert!(back.contains("addr del 2001:db8:a::50/128 dev public") && !back.contains(" link del"), "{back}");
    for node in ["bee", "cat"] {
        let node = node.parse().unwrap();
        assert_eq!(with.desired(&node), without.desired(&node));
    }
}

const NICS: &str =
    "[[provision]]\nnode = \"ant\"\nnics = [{ link = \"eth2\", slot = 1 }, { link = \"eth3\", slot = 2 }]";

/// The gateways' links are NICs themselves, with all that they would have as macvlans, and nothing else is other.
#[test]
fn nics_of_slots() {
    let (with, without) = (first_with(NICS), Farm::first());
    let [mut state, before] = [&with, &without].map(|farm| farm.desired(&"ant".parse().unwrap()));
    assert_eq!(below(&with, "ant").into_keys().collect::<Vec<_>>(), ["public"]);
    let todo = plan(&state, &before).to_string();
    insta::assert_snapshot!("nics_of_slots", todo);
    let back = plan(&before, &state).to_string();
    insta::assert_snapshot!("nics_of_slots_that_go_home", back);
    for (netns, link, nic) in [("gw-1-1", "pub-1-1", "eth2"), ("gw-2-1", "pub-2-1", "eth3")] {
        let netns = Netns::Named(netns.parse().unwrap());
        let link = state.at(netns.clone()).links.get_mut(&link.parse().unwrap()).unwrap();
        assert_eq!(link.kind, LinkKind::Nic { nic: nic.parse().unwrap(), home: None });
        link.kind = LinkKind::Macvlan { parent: "eth0".parse().unwrap() };
    }
    assert_eq!(state, before);
    for node in ["bee", "cat"] {
        let node = node.parse().unwrap();
        assert_eq!(with.desired(&node), without.desired(&node));
    }
}

/// Given back by a namespace's end it goes home first, and from there to its place.
#[test]
fn a_nic_that_the_kernel_gave_back_goes_home_and_on() {
    let desired = first_with(NICS).desired(&"ant".parse().unwrap());
    let mut there = bare();
    reach(&mut there, &desired);
    let gateway = Netns::Named("gw-1-1".parse().unwrap());
    let ends = Step { stage: Stage::RemoveNetns, netns: gateway, op: Op::DelNetns };
    evolve(&mut there, &ends).unwrap();
    assert_eq!(there.namespaces[&Netns::Host].links.len(), 1);
    let todo = plan(&desired, &there).to_string();
    let moves: Vec<&str> = todo.lines().filter(|line| line.contains("eth2")).collect();
    assert_eq!(
        moves,
        [
            "ip link set pub-1-1 name eth2",
            "ip link set eth2 netns gw-1-1; ip -n gw-1-1 link set eth2 name pub-1-1 address 02:6f:00:01:01:01 mtu 1500",
        ]
    );
    reach(&mut there, &bare());
    assert_eq!(there, bare());
}

const LETS_HAVE: &str = "[[provision]]\nnode = \"bee\"\nnics = [{ link = \"eth3\", network = \"acme/web\" }]";

/// A workload has a NIC for itself where its tenant and the farmer both say so, and nothing else is other.
#[test]
fn a_workloads_own_nic() {
    let acme = include_str!("../../../../../examples/first-farm/acme.toml");
    let farm_text = include_str!("../../../../../examples/first-farm/farm.toml");
    let asks = acme.replacen("node = \"bee\"\n", "node = \"bee\"\nnic = \"eth3\"\n", 1);
    assert_ne!(asks, acme);
    let globex = include_str!("../../../../../examples/first-farm/globex.toml");
    let with = |farm: &str, acme: &str| {
        Farm::new(&[("farm.toml", farm), ("acme.toml", acme), ("globex.toml", globex)])
            .desired(&"bee".parse().unwrap())
    };
    let lets = format!("{farm_text}\n{LETS_HAVE}");
    let neither = with(farm_text, acme);
    assert_eq!(with(farm_text, &asks), neither, "its farmer does not let it");
    assert_eq!(with(&lets, acme), neither, "its tenant does not ask");
    assert_eq!(with(&lets.replace("acme/web", "globex/lab"), &asks), neither, "it is another's");
    let both = with(&lets, &asks);
    let todo = plan(&both, &neither);
    insta::assert_snapshot!(todo.to_string());
    assert_eq!(todo.netns().len(), 1, "its own namespace alone");
    let back = plan(&neither, &both).to_string();
    assert!(back.contains("link set eth3 netns 1; ip link set eth3 name eth3"), "{back}");
}
