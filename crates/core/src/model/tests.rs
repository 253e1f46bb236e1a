//! What travels as JSON passes the same checks, nothing grows past its limit, and numbers are given out once.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::id::{AllocationNumber, Epoch, NodeId, WorkloadNumber};
use crate::limit;
use crate::tenure::{Duty, Phase, Tenure};

fn node(name: &str, at: &str) -> NodeDraft {
    let address = Some(format!("2001:db8:a::{at}/64").parse().unwrap());
    let reach = Reach::Public { address, address_v4: None };
    NodeDraft { id: name.parse().unwrap(), reach, nic: "eth0".parse().unwrap(), mtu: 1500 }
}

fn farm() -> FarmDraft {
    FarmDraft {
        id: "alpha".parse().unwrap(),
        allocations: vec!["2001:db8:a::/48".parse().unwrap()],
        upstream: Upstream::default(),
        management: vec!["192.0.2.0/24".parse().unwrap()],
        host_firewall: false,
        provisions: Vec::new(),
        nodes: vec![node("ant", "a1"), node("bee", "a2")],
        slots: vec![SlotDraft {
            public_v4: Some("203.0.113.5/24".parse().unwrap()),
            default_v4: Some("203.0.113.1".parse().unwrap()),
            ..SlotDraft::new("2001:db8:a::/48#1".parse().unwrap(), vec!["ant".parse().unwrap()])
        }],
    }
}

fn network() -> NetworkDraft {
    NetworkDraft {
        id: "acme/web".parse().unwrap(),
        nodes: vec!["ant".parse().unwrap(), "bee".parse().unwrap()],
        exit: ExitDraft { farm: "alpha".parse().unwrap(), prefix: None, slot: "1".parse().unwrap() },
        workloads: vec![workload("db", None)],
        exposures: vec![Exposure { workload: "db".parse().unwrap(), protocol: Protocol::Tcp, port: 443 }],
        own_v4: Default::default(),
        local_v4: false,
    }
}

fn workload(name: &str, number: Option<u8>) -> WorkloadDraft {
    WorkloadDraft {
        name: name.parse().unwrap(),
        node: "ant".parse().unwrap(),
        number: number.map(|k| WorkloadNumber::try_from(k).unwrap()),
        attachment: Attachment::Namespace,
        ipv6_only: false,
        nic: None,
    }
}

#[test]
fn networks_leave_by_whom_the_registry_names_if_the_farmer_does_too() {
    let [ant, bee, cat] = ["ant", "bee", "cat"].map(|name| name.parse::<NodeId>().unwrap());
    let listed = SlotDraft { holders: vec![ant.clone(), bee.clone()], ..farm().slots.remove(0) };
    let of = |holder: &NodeId, phase| Tenure {
        epoch: Epoch(2),
        phase,
        ..Tenure::first((AllocationNumber::FIRST, listed.key.slot), holder.clone())
    };
    let (from_ant, from_cat) = (Phase::Handover { from: ant.clone() }, Phase::Handover { from: cat.clone() });
    let (hold, rest, give) = (Some(Duty::Hold), Some(Duty::Rest), Some(Duty::Yield));
    for (tenure, holder, duties) in [
        (None, &ant, [hold, rest]),
        (Some(of(&bee, Phase::Done)), &bee, [rest, hold]),
        (Some(of(&bee, from_ant)), &ant, [give, hold]), // until it is done
        (Some(of(&bee, from_cat)), &bee, [rest, hold]), // who is listed no more is gone
        (Some(of(&cat, Phase::Done)), &ant, [hold, rest]),
    ] {
        let slot = listed.clone().held_by(tenure);
        let said = (slot.holder(), [&ant, &bee].map(|node| slot.duty(node)), slot.duty(&cat));
        assert_eq!(said, (Some(holder), duties, None), "{:?}", slot.tenure);
    }
}

#[test]
fn the_second_next_hop_is_the_first_of_the_others_than_who_is_to_hold() {
    let [ant, bee, cat] = ["ant", "bee", "cat"].map(|name| name.parse::<NodeId>().unwrap());
    let holders = vec![ant.clone(), bee.clone(), cat.clone()];
    let listed = SlotDraft { holders, ecmp: true, ..farm().slots.remove(0) };
    let of = |holder: &NodeId, phase| Tenure {
        phase,
        ..Tenure::first((AllocationNumber::FIRST, listed.key.slot), holder.clone())
    };
    for (tenure, second) in [
        (None, &bee),
        (Some(of(&ant, Phase::Done)), &bee),
        (Some(of(&bee, Phase::Done)), &ant),
        (Some(of(&bee, Phase::Handover { from: ant.clone() })), &ant),
        (Some(of(&cat, Phase::Done)), &ant),
        (Some(of(&"fox".parse().unwrap(), Phase::Done)), &bee), // who is listed no more holds nothing
    ] {
        let slot = listed.clone().held_by(tenure);
        assert_eq!(slot.second(), Some(second), "{:?}", slot.tenure);
        assert_eq!(SlotDraft { ecmp: false, ..slot }.second(), None);
    }
    assert_eq!(listed.next_hops().len(), 2);
}

#[test]
fn who_holds_a_slot_is_said_in_a_world_as_it_is() {
    let mut world = world();
    let (farm, key) = (farm().id, farm().slots[0].key);
    let tenure = Tenure::first((AllocationNumber::FIRST, key.slot), "ant".parse().unwrap());
    let held = |world: &World| world.farm(&farm).unwrap().slot(key).unwrap().tenure().cloned();
    world.hold(&farm, key, Some(tenure.clone()));
    assert_eq!(held(&world), Some(tenure));
    world.hold(&"beta".parse().unwrap(), key, None);
    world.hold(&farm, SlotKey { slot: 7_i64.try_into().unwrap(), ..key }, None);
    assert!(held(&world).is_some(), "another's");
    world.hold(&farm, key, None);
    assert_eq!(world, super::tests::world());
}

fn world() -> World {
    WorldDraft { farms: vec![farm()], networks: vec![network()] }.try_into().unwrap()
}

fn faults_of(draft: &NetworkDraft) -> Vec<String> {
    draft.faults().into_iter().map(|found| found.fault.to_string()).collect()
}

#[test]
fn a_world_reads_as_it_is_written() {
    let json = serde_json::to_string(&world()).unwrap();
    assert_eq!(serde_json::from_str::<World>(&json).unwrap(), world());
    let one: Farm = farm().try_into().unwrap();
    assert_eq!(serde_json::from_str::<Farm>(&serde_json::to_string(&one).unwrap()).unwrap(), one);
}

#[test]
fn no_json_makes_an_invalid_world() {
    let damage: [(&str, Value, &str); 10] = [
        ("/farms/0/allocations/0", json!("2001:db8:a::1/48"), "has host bits"),
        ("/farms/0/nodes/1/id", json!("ant"), "node ant is declared twice"),
        ("/farms/0/nodes/1/id", json!("../bee"), "'.' at position 1"),
        ("/farms/0/nodes/0/mtu", json!(1279), "1279 bytes is less than 1360"),
        (
            "/farms/0/nodes/0/reach",
            json!({"public": {"address": null, "address_v4": null}}),
            "has no address",
        ),
        ("/farms/0/nodes/0/reach", json!({"hidden": {"families": []}}), "speaks no family"),
        ("/farms/0/slots/0/holders", json!([]), "has no holders"),
        ("/networks/0/exit/slot", json!(2), "farm alpha has no slot 2"),
        ("/networks/0/exposures/0/port", json!(0), "port 0 cannot be exposed"),
        ("/networks/0/nodes/1", json!("cow"), "node cow is in no farm"),
    ];
    for (at, value, wanted) in damage {
        let mut json = serde_json::to_value(world()).unwrap();
        *json.pointer_mut(at).unwrap_or_else(|| panic!("{at}")) = value;
        let said = serde_json::from_value::<World>(json).unwrap_err().to_string();
        assert!(said.contains(wanted), "{at}: {said}");
    }
    let mut json = serde_json::to_value(world()).unwrap();
    json["farms"][0]["colour"] = json!("red");
    assert!(serde_json::from_value::<World>(json).is_err());
}

#[test]
fn a_network_alone_must_say_its_exit_prefix() {
    assert!(matches!(Network::try_from(network()), Err(Fault::ExitPrefix { .. })));
    let resolved = world().networks().values().next().unwrap().clone();
    assert_eq!(resolved.exit().key().to_string(), "2001:db8:a::/48#1");
    assert_eq!(
        serde_json::from_value::<Network>(serde_json::to_value(&resolved).unwrap()).unwrap(),
        resolved
    );
}

#[test]
fn nothing_of_a_network_grows_past_its_limit() {
    let names = |count: usize| (0..count).map(|i| format!("w{i}"));
    let mut crowded = network();
    crowded.workloads = names(limit::WORKLOADS_PER_RESOURCE).map(|name| workload(&name, None)).collect();
    crowded.exposures.clear();
    assert_eq!(faults_of(&crowded), Vec::<String>::new());
    crowded.exit.prefix = Some("2001:db8:a::/48".parse().unwrap());
    assert_eq!(
        Network::try_from(crowded.clone()).unwrap().workloads().last().unwrap().number,
        WorkloadNumber::LAST
    );
    crowded.workloads.push(workload("last", None));
    assert_eq!(faults_of(&crowded), ["254 workloads on one node, more than 253"]);

    let mut wide = network();
    wide.nodes.extend(names(limit::NODES_PER_NETWORK - 1).map(|name| name.parse::<NodeId>().unwrap()));
    assert_eq!(faults_of(&wide), ["4096 nodes, more than 4095"]);

    let mut open = network();
    let port = |port| Exposure { workload: "db".parse().unwrap(), protocol: Protocol::Udp, port };
    open.exposures = (1..=4097).map(port).collect();
    assert_eq!(faults_of(&open), ["4097 exposed ports, more than 4096"]);
}

#[test]
fn nothing_of_a_farm_grows_past_its_limit() {
    let said =
        |farm: &FarmDraft| farm.faults().into_iter().map(|found| found.fault.to_string()).collect::<Vec<_>>();
    let mut wide = farm();
    wide.nodes.extend((0..4095).map(|i| node(&format!("n{i}"), &format!("b:{i:x}"))));
    assert_eq!(said(&wide), ["4097 nodes, more than 4096"]);
    let mut rich = farm();
    rich.allocations
        .extend((0..64).map(|i| format!("2001:db8:1{i:02}::/48").parse::<ipnet::Ipv6Net>().unwrap()));
    assert_eq!(said(&rich), ["65 allocations, more than 64"]);
    let mut managed = farm();
    managed.management.extend((0..=255).map(|i| format!("192.0.2.{i}/32").parse::<ipnet::IpNet>().unwrap()));
    assert_eq!(said(&managed), ["257 management prefixes, more than 256"]);
    let mut held = farm();
    held.nodes.extend((0..16).map(|i| node(&format!("n{i}"), &format!("b:{i:x}"))));
    held.slots[0].holders.extend((0..16).map(|i| format!("n{i}").parse::<NodeId>().unwrap()));
    assert_eq!(said(&held), ["17 holders, more than 16"]);
}

#[test]
fn farms_and_networks_are_counted() {
    let farms = (0..=limit::FARMS_MAX)
        .map(|i| FarmDraft {
            id: format!("f{i}").parse().unwrap(),
            allocations: vec![],
            nodes: vec![],
            slots: vec![],
            ..farm()
        })
        .collect();
    let found = WorldDraft { farms, networks: vec![] }.faults();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].0, found[0].1.fault.to_string().as_str()),
        (Document::Farm(1024), "1025 farms, more than 1024")
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever numbers are asked for, each workload gets one that nobody else has, and those asked for are kept.
    #[test]
    fn numbers_are_given_out_once(asked in prop::collection::vec(prop::option::weighted(0.4, 2..=254_u8), 1..200)) {
        let mut taken = BTreeSet::new();
        let mut draft = network();
        draft.exit.prefix = Some("2001:db8:a::/48".parse().unwrap());
        draft.exposures.clear();
        draft.workloads = (asked.iter().enumerate())
            .map(|(i, k)| workload(&format!("w{i}"), k.filter(|k| taken.insert(*k))))
            .collect();
        let network = Network::try_from(draft.clone()).unwrap();
        let numbers: BTreeSet<_> = network.workloads().iter().map(|w| w.number).collect();
        prop_assert_eq!(numbers.len(), asked.len());
        for (drafted, w) in draft.workloads.iter().zip(network.workloads()) {
            prop_assert!(drafted.number.is_none_or(|number| number == w.number));
            prop_assert_eq!(&drafted.name, &w.name);
        }
        let again = NetworkDraft::from(network.clone());
        prop_assert_eq!(Network::try_from(again).unwrap(), network);
    }

    #[test]
    fn a_slot_key_reads_as_it_is_written(bits: u128, length in 0..=128_u8, slot in 1..=15_u8) {
        let prefix = ipnet::Ipv6Net::new(bits.into(), length).unwrap();
        let key = SlotKey { prefix, slot: slot.try_into().unwrap() };
        prop_assert_eq!(key.to_string().parse(), Ok(key));
        let json = serde_json::to_string(&std::collections::BTreeMap::from([(key, 1)])).unwrap();
        prop_assert_eq!(serde_json::from_str::<std::collections::BTreeMap<SlotKey, u8>>(&json).unwrap()[&key], 1);
    }
}

#[test]
fn a_network_without_a_node_is_without_what_is_on_it() {
    let workload = |name: &str, node: &str| WorkloadDraft {
        name: name.parse().unwrap(),
        node: node.parse().unwrap(),
        number: None,
        attachment: Attachment::default(),
        ipv6_only: false,
        nic: None,
    };
    let exposed =
        |name: &str| Exposure { workload: name.parse().unwrap(), protocol: Protocol::Tcp, port: 80 };
    let draft = NetworkDraft {
        id: "acme/web".parse().unwrap(),
        nodes: ["ant", "bee"].map(|node| node.parse().unwrap()).to_vec(),
        exit: ExitDraft { farm: "alpha".parse().unwrap(), prefix: None, slot: 1_i64.try_into().unwrap() },
        workloads: vec![workload("one", "ant"), workload("two", "bee")],
        exposures: vec![exposed("one"), exposed("two")],
        own_v4: Default::default(),
        local_v4: false,
    };
    let kept = draft.clone().kept_on(|node| node.as_str() == "ant").unwrap();
    assert_eq!(kept.nodes, ["ant".parse().unwrap()]);
    assert_eq!((kept.workloads, kept.exposures), (vec![workload("one", "ant")], vec![exposed("one")]));
    assert_eq!(draft.clone().kept_on(|_| true), Some(draft.clone()));
    assert_eq!(draft.kept_on(|_| false), None);
}
