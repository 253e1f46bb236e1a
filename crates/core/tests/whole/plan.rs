//! What a plan does and does not say: nothing twice, nothing that goes along anyway, and in the right order.

mod display;
mod evolve;
mod oracle;
mod small;

use sixfold_core::name;
use sixfold_core::plan::{Op, Plan, Stage, plan};
use sixfold_core::state::{
    Action, Device, Endpoint, Link, LinkEnd, LinkKind, Netns, NodeState, RouteTarget, Rule, SetKind, SetName,
    fall,
};

use crate::farm::{Farm, bare, reach};

fn ant() -> (Farm, NodeState) {
    let farm = Farm::first();
    let desired = farm.desired(&"ant".parse().unwrap());
    (farm, desired)
}

fn netns(name: &str) -> Netns {
    Netns::Named(name.try_into().unwrap())
}

fn lines(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(ToString::to_string).collect()
}

#[test]
fn everything_closed_comes_before_anything_that_it_closes() {
    let (_, desired) = ant();
    let plan = plan(&desired, &bare());
    let stages: Vec<Stage> = plan.steps.iter().map(|step| step.stage).collect();
    assert!(stages.is_sorted());
    let at = |wanted: fn(&Op) -> bool| plan.steps.iter().position(|step| wanted(&step.op)).unwrap();
    let firewall = plan.steps.iter().rposition(|step| matches!(step.op, Op::SetChain { .. })).unwrap();
    assert!(firewall < at(|op| matches!(op, Op::AddLink { .. })), "the firewall before any link");
    let covered = plan
        .steps
        .iter()
        .rposition(|step| matches!(&step.op, Op::SetRoute { target: RouteTarget::Unreachable, .. }))
        .unwrap();
    assert!(
        covered < at(|op| matches!(op, Op::SetRoute { target, .. } if *target != RouteTarget::Unreachable))
    );
}

#[test]
fn a_namespace_that_goes_takes_its_contents_along_and_only_its_tunnels_are_let_go_first() {
    let (_, desired) = ant();
    let mut state = bare();
    reach(&mut state, &desired);
    let mut less = desired.clone();
    let gone: Vec<Netns> =
        desired.namespaces.keys().filter(|name| name.to_string().starts_with("load-")).cloned().collect();
    gone.iter().for_each(|name| drop(less.namespaces.remove(name)));
    // What the namespace's veth was joined to goes from the other side's desired state as well.
    let joined = less
        .namespaces
        .values_mut()
        .find(|ns| ns.links.keys().any(|name| name.to_string() == "port-2"))
        .unwrap();
    let port = "port-2".try_into().unwrap();
    joined.links.remove(&port);
    joined.addresses.retain(|key, ()| key.link != port);
    joined.neighbours.retain(|key, _| key.link != port);
    joined.routes.retain(|_, target| target.link() != Some(&port));
    let plan = plan(&less, &state);
    let words: Vec<String> = lines(&plan);
    assert_eq!(words.len(), 2, "{plan}");
    assert!(words[0].ends_with("link del port-2") && words[1].starts_with("ip netns del load-"), "{plan}");
}

#[test]
fn withdrawing_an_exit_point_costs_the_gateway_a_link_and_what_is_said_of_that() {
    let (farm, desired) = ant();
    let mut state = bare();
    reach(&mut state, &desired);
    let alone = Farm {
        world: Farm::new(&[
            ("farm.toml", include_str!("../../../../examples/first-farm/farm.toml")),
            ("acme.toml", include_str!("../../../../examples/first-farm/acme.toml")),
        ])
        .world,
        ..farm
    };
    let mut alone = alone;
    let globex: Vec<_> =
        alone.ledger.grants_of(&"globex/lab".parse().unwrap()).map(|(k, g)| (k, g.clone())).collect();
    let release = sixfold_core::model::LedgerChange {
        grants: globex
            .into_iter()
            .map(|(key, grant)| {
                (key, grant.release(sixfold_core::id::Timestamp(0), std::collections::BTreeSet::new()))
            })
            .collect(),
        ..Default::default()
    };
    alone.ledger.commit(&alone.ledger.read([]), release).unwrap();
    let plan = plan(&alone.desired(&"ant".parse().unwrap()), &state);
    let gateway: Vec<String> =
        plan.steps.iter().filter(|step| step.netns == netns("gw-1-1")).map(ToString::to_string).collect();
    assert_eq!(gateway.len(), 8, "{plan}");
    assert!(gateway[1..].iter().all(|step| step.contains("nft 'delete element ")), "{plan}");
    assert!(gateway[0].contains("link del to-"), "the link takes its nexthop and all routes along: {plan}");
}

/// The neighbour entry that the upstream router has would go on working without the address.
#[test]
fn a_gateway_that_goes_is_cut_off_before_anything_else_is_done() {
    let (_, desired) = ant();
    let mut state = bare();
    reach(&mut state, &desired);
    let mut less = desired;
    less.namespaces
        .retain(|name, _| !["gw-1-1", "net-10a9-1", "net-1e65-1"].contains(&name.to_string().as_str()));
    let plan = plan(&less, &state);
    assert_eq!(lines(&plan)[0], "ip -n gw-1-1 link set pub-1-1 down", "{plan}");
    assert_eq!(plan.steps.iter().filter(|step| step.stage == Stage::Fence).count(), 1, "{plan}");
    let last = plan.steps.last().unwrap();
    assert_eq!(
        (&last.op, &last.netns),
        (&Op::DelNetns, &netns("gw-1-1")),
        "its links go with others first: {plan}"
    );
}

#[test]
fn a_gateway_that_rests_keeps_all_but_its_way_to_the_outside_and_begins_by_that_alone() {
    let (_, holding) = ant();
    let link = "pub-1-1".parse().unwrap();
    let mut resting = holding.clone();
    let ns = resting.at(netns("gw-1-1"));
    ns.links.get_mut(&link).unwrap().up = false;
    ns.routes.retain(|_, target| target.link() != Some(&link));
    let mut state = bare();
    reach(&mut state, &holding);
    let stop = plan(&resting, &state);
    assert_eq!(lines(&stop)[0], "ip -n gw-1-1 link set pub-1-1 down", "{stop}");
    // The kernel drops IPv6 addresses of a link that goes down: they are given again, to be there when it goes up.
    let again = |step: &sixfold_core::plan::Step| matches!(&step.op, Op::AddAddress(key) if key.link == link);
    assert!(stop.steps[1..].iter().all(again) && stop.len() == 3, "{stop}");
    reach(&mut state, &resting);
    let begin = plan(&holding, &state);
    assert_eq!(lines(&begin)[0], "ip -n gw-1-1 link set pub-1-1 up", "{begin}");
    assert_eq!(
        begin.len(),
        1 + holding.namespaces[&netns("gw-1-1")]
            .routes
            .values()
            .filter(|target| target.link() == Some(&link))
            .count(),
        "{begin}"
    );
    reach(&mut state, &holding);
}

#[test]
fn one_port_more_costs_one_element() {
    let (farm, before) = ant();
    let mut state = bare();
    reach(&mut state, &before);
    let acme = format!(
        "{}\n[[expose]]\nworkload = \"front\"\nprotocol = \"udp\"\nport = 53\n",
        include_str!("../../../../examples/first-farm/acme.toml")
    );
    let more = Farm::new(&[
        ("farm.toml", include_str!("../../../../examples/first-farm/farm.toml")),
        ("acme.toml", &acme),
        ("globex.toml", include_str!("../../../../examples/first-farm/globex.toml")),
    ]);
    assert_eq!(farm.ledger, more.ledger);
    let plan = plan(&more.desired(&"ant".parse().unwrap()), &state);
    assert_eq!(lines(&plan).len(), 1, "{plan}");
    assert!(lines(&plan)[0].contains("add element inet sixfold exposed"), "{plan}");
}

#[test]
fn one_peer_that_moved_costs_one_peer_and_one_that_roamed_costs_nothing() {
    let (_, desired) = ant();
    let mut state = bare();
    reach(&mut state, &desired);
    let (key, peer) = {
        let ns = state.namespaces.values_mut().find(|ns| !ns.peers.is_empty()).unwrap();
        let (key, peer) =
            ns.peers.iter_mut().find(|(_, peer)| matches!(peer.endpoint, Endpoint::At(_))).unwrap();
        peer.endpoint = Endpoint::Live("192.0.2.9:99".parse().unwrap());
        (key.clone(), peer.clone())
    };
    assert!(plan(&desired, &state).is_empty(), "a live session chose its endpoint itself");
    let ns = state.namespaces.values_mut().find(|ns| ns.peers.contains_key(&key)).unwrap();
    ns.peers.insert(
        key,
        sixfold_core::state::Peer { endpoint: Endpoint::At("192.0.2.9:99".parse().unwrap()), ..peer },
    );
    let plan = plan(&desired, &state);
    assert!(matches!(plan.steps.as_slice(), [step] if matches!(step.op, Op::SetPeer { .. })), "{plan}");
}

#[test]
fn a_rule_deleted_or_added_by_hand_is_a_difference_of_that_chain_alone() {
    let (_, desired) = ant();
    let mut state = bare();
    reach(&mut state, &desired);
    let table = state.at(netns("gw-1-1")).firewall.as_mut().unwrap();
    let forward = table.chains.get_mut(&sixfold_core::state::ChainName("forward".into())).unwrap();
    forward.rules.insert(0, Rule { matches: vec![], action: Action::Accept, comment: "by hand".into() });
    let plan = plan(&desired, &state);
    assert!(
        matches!(plan.steps.as_slice(), [step] if matches!(&step.op, Op::SetChain { name, .. } if name.0 == "forward")),
        "{plan}"
    );
}

#[test]
fn a_set_of_another_kind_means_the_table_anew_in_one_go() {
    let (_, desired) = ant();
    let mut state = bare();
    reach(&mut state, &desired);
    let table = state.at(netns("gw-1-1")).firewall.as_mut().unwrap();
    table.sets.get_mut(&SetName("bogons".into())).unwrap().kind = SetKind::Ports;
    let plan = plan(&desired, &state);
    assert!(matches!(plan.steps[0].op, Op::DelTable) && matches!(plan.steps[1].op, Op::AddTable));
    assert!(plan.steps.iter().all(|step| step.stage == Stage::Firewall), "{plan}");
    reach(&mut state, &desired);
}

#[test]
fn a_link_that_fell_comes_back_with_all_that_hung_on_it_on_both_ends() {
    let (_, desired) = ant();
    let mut state = bare();
    reach(&mut state, &desired);
    let ns = &desired.namespaces[&netns("gw-1-1")];
    let link = *ns.links.keys().find(|name| name.to_string().starts_with("to-")).unwrap();
    fall(&mut state, &LinkEnd { netns: netns("gw-1-1"), link });
    let mend = plan(&desired, &state);
    assert_eq!(mend.netns().len(), 2, "gateway and exit point, and nobody else: {mend}");
    reach(&mut state, &desired);
    assert_eq!(state, desired);
}

#[test]
fn the_hosts_own_namespace_is_neither_made_nor_removed() {
    let (_, desired) = ant();
    for (want, there) in [(&desired, &NodeState::default()), (&NodeState::default(), &bare())] {
        let plan = plan(want, there);
        assert!(!plan.steps.iter().any(|step| step.netns == Netns::Host), "{plan}");
    }
    assert!(name::netns_public().to_string() == "public");
}

/// A kernel's own device goes with its link, and a TUN that the tunnel process does not have needs no word to it.
#[test]
fn the_tunnel_process_lets_go_of_a_link_that_it_has() {
    let (at, link) = (netns("net-1abc-1"), "wg-1abc-1");
    let name: sixfold_core::name::IfName = link.parse().unwrap();
    let wireguard = Link { kind: LinkKind::Wireguard { socket: Some(Netns::Host) }, ..evolve::tun() };
    let public_key = sixfold_core::key::PrivateKey::from_bytes([1; 32]).public();
    for (there, has_device, expected) in [
        (evolve::tun(), true, vec![Op::DelDevice { link: name }, Op::DelLink { name }]),
        (evolve::tun(), false, vec![Op::DelLink { name }]),
        (wireguard, true, vec![Op::DelLink { name }]),
    ] {
        let mut observed = bare();
        let ns = observed.at(at.clone());
        ns.links.insert(name, there);
        let device = Device { public_key, listen_port: 1, fwmark: 0 };
        ns.devices.extend(has_device.then_some((name, device)));
        let mut desired = bare();
        desired.at(at.clone());
        let ops: Vec<Op> = plan(&desired, &observed).steps.into_iter().map(|step| step.op).collect();
        assert_eq!(ops, expected, "{has_device}");
    }
}
