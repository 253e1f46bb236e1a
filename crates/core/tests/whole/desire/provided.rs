//! What a farmer provides at a node: the links that its namespaces stand on.

use std::collections::BTreeMap;

use sixfold_core::desire::desire;
use sixfold_core::name::IfName;
use sixfold_core::state::LinkKind;

use crate::farm::{Farm, own};

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
