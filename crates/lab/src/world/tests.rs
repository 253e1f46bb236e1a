//! The world of both examples: what is there, what routes lead where, and nothing that an agent would take for its own.

use std::path::Path;

use sixfold_core::name::{IfName, NetnsName};
use sixfold_core::state::{LinkKind, Namespace, Netns, RouteTarget};
use sixfold_core::trial::Trial;

use super::*;
use crate::scenario::Cable;

fn drawn(example: &str) -> Surroundings {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(example);
    let trial = Trial::new(crate::files::load(&dir).unwrap()).unwrap();
    draw(trial.world(), trial.ledger())
}

fn at<'a>(drawn: &'a Surroundings, name: &str) -> &'a Namespace {
    &drawn.state.namespaces[&Netns::Named(NetnsName::try_from(name).unwrap())]
}

fn route(namespace: &Namespace, destination: &str) -> Option<String> {
    let key = namespace.routes.keys().find(|key| key.destination.to_string() == destination)?;
    Some(match &namespace.routes[key] {
        RouteTarget::Via { gateway, link } => format!("via {gateway} dev {link}"),
        other => format!("{other:?}"),
    })
}

fn addresses(namespace: &Namespace) -> Vec<String> {
    namespace.addresses.keys().map(|key| format!("{} {}", key.link, key.address)).collect()
}

#[test]
fn the_first_farm_has_a_router_an_internet_and_a_home() {
    let drawn = drawn("first-farm");
    let names: Vec<String> = drawn.state.namespaces.keys().map(ToString::to_string).collect();
    assert_eq!(
        names,
        ["home-cat", "internet", "node-ant", "node-bee", "node-cat", "registry", "router-alpha"]
    );
    let router = at(&drawn, "router-alpha");
    assert_eq!(
        addresses(router),
        [
            "core fe80::c:2/64",
            "segment 203.0.113.1/24",
            "segment 2001:db8:a::1/64",
            "segment 2001:db8:ffff:f000::1/64",
            "segment fe80::1/64"
        ]
    );
    assert_eq!(route(router, "2001:db8:a:1000::/52").unwrap(), "via 2001:db8:a:0:1000::1 dev segment");
    assert_eq!(route(router, "2001:db8:a:2000::/52").unwrap(), "via 2001:db8:a:0:2000::1 dev segment");
    assert_eq!(route(router, "10.16.0.0/12").unwrap(), "via 203.0.113.5 dev segment");
    let internet = at(&drawn, "internet");
    assert!(addresses(internet).contains(&"lo 198.51.100.1/32".to_owned()), "{:?}", addresses(internet));
    assert!(addresses(internet).contains(&"lo 2001:db8:ffff::1/128".to_owned()));
    assert_eq!(route(internet, "2001:db8:a::/48").unwrap(), "via fe80::c:2 dev core-alpha");
    assert_eq!(route(internet, "203.0.113.5/32").unwrap(), "via fe80::c:2 dev core-alpha");
    assert_eq!(route(internet, "198.51.100.16/32").unwrap(), "via fe80::c:2 dev isp-cat");
    assert_eq!(drawn.segments.len(), 1);
    let ports: Vec<&str> = drawn.segments[0].ports.iter().map(IfName::as_str).collect();
    assert_eq!(ports, ["to-ant", "to-bee"]);
}

#[test]
fn a_hidden_node_that_speaks_ipv4_has_no_ipv6_and_no_public_address() {
    let drawn = drawn("first-farm");
    assert_eq!(addresses(at(&drawn, "node-cat")), ["eth0 192.168.1.2/24"]);
    assert_eq!(addresses(at(&drawn, "node-ant")), ["eth0 2001:db8:ffff:f000::10/64"], "the machine's own");
}

#[test]
fn the_registry_is_a_host_that_everybody_reaches() {
    let drawn = drawn("first-farm");
    let registry = at(&drawn, "registry");
    assert_eq!(
        addresses(registry),
        ["eth0 198.51.100.2/32", "eth0 2001:db8:ffff::2/128", "eth0 fe80::c:2/64"]
    );
    let internet = at(&drawn, "internet");
    for own in ["198.51.100.2/32", "2001:db8:ffff::2/128"] {
        assert_eq!(route(internet, own).unwrap(), "via fe80::c:2 dev registry");
    }
    assert_eq!(route(internet, "2001:db8:ffff:f000::/64").unwrap(), "via fe80::c:2 dev core-alpha");
    assert_eq!(route(at(&drawn, "node-ant"), "::/0").unwrap(), "via fe80::1 dev eth0");
}

#[test]
fn a_cable_that_is_cut_takes_what_goes_over_it_and_nothing_else() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/first-farm");
    let trial = Trial::new(crate::files::load(&dir).unwrap()).unwrap();
    let (world, whole) = (trial.world(), draw(trial.world(), trial.ledger()));
    let ends = [
        (Cable::Node("ant".parse().unwrap()), "router-alpha to-ant"),
        (Cable::Node("cat".parse().unwrap()), "home-cat lan"),
        (Cable::Farm("alpha".parse().unwrap()), "internet core-alpha"),
        (Cable::Registry, "internet registry"),
    ];
    for (cable, wanted) in ends {
        let end = cables::end(world, &cable).unwrap();
        assert_eq!(format!("{} {}", end.0, end.1), wanted);
        let mut state = whole.state.clone();
        cables::cut(&mut state, end);
        let (before, after) = (&whole.state.namespaces, &state.namespaces);
        let changed: Vec<String> =
            before.keys().filter(|netns| before[netns] != after[netns]).map(ToString::to_string).collect();
        assert_eq!(changed, [end.0.to_string()]);
        let there = &after[&Netns::Named(end.0)];
        assert!(
            !there.links[&end.1].up && !addresses(there).iter().any(|text| text.starts_with(end.1.as_str()))
        );
    }
    assert_eq!(cables::end(world, &Cable::Node("dog".parse().unwrap())), None);
}

#[test]
fn a_node_that_goes_takes_both_ends_of_its_cable() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/first-farm");
    let trial = Trial::new(crate::files::load(&dir).unwrap()).unwrap();
    for (node, upper) in [("ant", ("router-alpha", "to-ant")), ("cat", ("home-cat", "lan"))] {
        let mut state = draw(trial.world(), trial.ledger()).state;
        cables::remove(&mut state, trial.world(), &node.parse().unwrap());
        let netns = |name: &str| Netns::Named(NetnsName::try_from(name).unwrap());
        assert!(!state.namespaces.contains_key(&netns(&format!("node-{node}"))));
        let link = IfName::try_from(upper.1).unwrap();
        assert!(!state.namespaces[&netns(upper.0)].links.contains_key(&link));
    }
}

#[test]
fn the_internet_keeps_clear_of_what_farms_use() {
    let drawn = drawn("two-farms");
    assert_eq!(drawn.outside.host_v4.to_string(), "198.18.0.1");
    assert_eq!(drawn.outside.host.to_string(), "2001:db8:ffff::1");
    assert_eq!(addresses(at(&drawn, "node-cat")), ["eth0 192.168.1.2/24"]);
    assert_eq!(
        addresses(at(&drawn, "router-beta"))[1..3],
        ["segment 198.51.100.1/24", "segment 2001:db8:b::1/64"]
    );
}

#[test]
fn a_home_with_ipv6_has_a_prefix_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let farm = "farm = \"alpha\"\nallocations = [\"2001:db8:a::/48\"]\n[[node]]\nname = \"cat\"\nreach = \"hidden\"\nfamilies = [\"ipv6\"]\n";
    std::fs::write(folder.path().join("farm.toml"), farm).unwrap();
    let trial = Trial::new(crate::files::load(folder.path()).unwrap()).unwrap();
    let drawn = draw(trial.world(), trial.ledger());
    assert_eq!(addresses(at(&drawn, "node-cat")), ["eth0 2001:db8:ffff:1::2/64", "eth0 fe80::2/64"]);
    assert_eq!(route(at(&drawn, "node-cat"), "::/0").unwrap(), "via fe80::1 dev eth0");
    assert_eq!(route(at(&drawn, "internet"), "2001:db8:ffff:1::/64").unwrap(), "via fe80::c:2 dev isp-cat");
}

#[test]
fn every_cable_has_two_ends_and_no_place_has_a_role() {
    for example in ["first-farm", "two-farms"] {
        let drawn = drawn(example);
        for (netns, namespace) in &drawn.state.namespaces {
            let Netns::Named(name) = netns else { panic!("nothing is drawn in the lab's own namespace") };
            assert_eq!(name.role(), None, "{name}");
            for (link, shape) in &namespace.links {
                let LinkKind::Veth { peer } = &shape.kind else { continue };
                let back = &drawn.state.namespaces[&peer.netns].links[&peer.link].kind;
                let LinkKind::Veth { peer } = back else { panic!("{link} leads to no cable") };
                assert_eq!((&peer.netns, &peer.link), (netns, link));
            }
        }
    }
}
