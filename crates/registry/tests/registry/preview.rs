//! What is told before a change is what the change then does: for every node, planned from all that it sees.

use std::collections::BTreeMap;

use sixfold_core::desire::{Own, OwnDevice, desire, own_resources};
use sixfold_core::id::{NodeId, Timestamp};
use sixfold_core::model::{
    Attachment, Exposure, Forward, NetworkDraft, OwnV4, Protocol, Reports, Snapshot, WorkloadDraft,
};
use sixfold_core::plan::{Plan, plan};
use sixfold_core::state::{Backend, NodeState};
use sixfold_core::trial::placeholders;
use sixfold_registry::service::{Failed, Op, Preview, Refusal, State};
use sixfold_registry::store::Memory;

use crate::ground::{Hands, Registry, farm, network, put_farm, put_network, remove_network, said};

const NODES: usize = 7;

fn now() -> Timestamp {
    Timestamp(1_000_000)
}

fn registry() -> Registry {
    Registry::start(Memory::default(), &Hands::at(now().0)).furnish(NODES)
}

fn preview(registry: &Registry, op: &Op) -> Preview {
    registry.service.preview(op, now()).unwrap().plan(|_| Backend::Kernel)
}

/// Reports of every device there shall be: those of new ones as a preview makes them up.
fn reports(state: &State) -> Reports {
    let live = state.ledger().grants().iter().filter(|(_, grant)| grant.is_live());
    let made_up = live.flat_map(|(key, grant)| placeholders(state.world(), *key, grant));
    made_up.map(|(at, made_up)| (at.clone(), state.reports().get(&at).cloned().unwrap_or(made_up))).collect()
}

/// All that each node holds, of whatever network.
fn held(registry: &Registry, all_made: bool) -> BTreeMap<NodeId, NodeState> {
    registry.service.read(|state| {
        let reports = if all_made { reports(state) } else { state.reports().clone() };
        let state = |node: &NodeId| {
            let snapshot = Snapshot::for_node(state.world(), state.ledger(), &reports, node).unwrap();
            let device = own_resources(&snapshot).filter_map(|key| {
                let report = reports.get(&(key, node.clone()))?;
                let (public_key, listen_port) = (report.public_key, Some(report.listen_port));
                Some((key, OwnDevice { public_key, listen_port }))
            });
            desire(&snapshot, &Own { devices: device.collect(), ..Own::of(Backend::Kernel) })
        };
        let nodes = (0..NODES).map(|at| format!("n{at}").parse().unwrap());
        nodes.map(|node: NodeId| (node.clone(), state(&node))).collect()
    })
}

/// Every grant in force gets its device.
fn report_all(registry: &Registry) {
    let devices = registry.service.read(|state| {
        let reports = reports(state);
        let missing = reports.into_iter().filter(|(key, _)| !state.reports().contains_key(key));
        let device = missing.map(|((resource, node), report)| {
            let grant = &state.ledger().grants()[&resource];
            let said = said(1, &format!("device {} {}", resource.index, grant.generation));
            (node.to_string(), Op::PutDevice { said, node, resource, generation: grant.generation, report })
        });
        device.collect::<Vec<_>>()
    });
    for (node, op) in devices {
        registry.ask(&node, "", op).unwrap();
    }
}

fn with(draft: NetworkDraft, workloads: &[(&str, usize, u8)], exposed: &[(&str, u16)]) -> NetworkDraft {
    let workload = |(name, node, number): &(&str, usize, u8)| WorkloadDraft {
        name: name.parse().unwrap(),
        node: format!("n{node}").parse().unwrap(),
        number: Some((*number).try_into().unwrap()),
        attachment: Attachment::Namespace,
        ipv6_only: false,
        nic: None,
    };
    let exposure = |(workload, port): &(&str, u16)| Exposure {
        workload: workload.parse().unwrap(),
        protocol: Protocol::Tcp,
        port: *port,
    };
    NetworkDraft {
        workloads: workloads.iter().map(workload).collect(),
        exposures: exposed.iter().map(exposure).collect(),
        ..draft
    }
}

fn words(draft: NetworkDraft, version: u64) -> Op {
    Op::PutNetwork { said: said(version, &format!("{} {version}", draft.id)), network: draft }
}

/// Changes of two tenants that share nodes and a slot, one after the other.
fn changes() -> Vec<(&'static str, Op)> {
    let web = |nodes: &[usize]| network("acme/web", 1, nodes.iter().copied());
    let lab = |nodes: &[usize]| network("globex/lab", 1, nodes.iter().copied());
    let two = [("a", 2, 2), ("b", 3, 2)];
    vec![
        ("acme", words(web(&[2, 3]), 1)),
        ("globex", words(with(lab(&[2, 4]), &[("c", 4, 2)], &[("c", 80)]), 1)),
        ("acme", words(with(web(&[2, 3]), &two, &[("a", 443)]), 2)),
        ("acme", words(with(web(&[2, 3, 5, 0]), &two, &[("b", 443)]), 3)),
        // Another exit, on another holder.
        ("acme", words(with(network("acme/web", 2, [2, 3, 5]), &two, &[]), 4)),
        ("globex", words(with(lab(&[6, 4]), &[("c", 4, 2)], &[("c", 80)]), 2)),
        ("acme", words(web(&[2]), 5)),
        ("acme", remove_network(6, "acme/web")),
        ("acme", words(web(&[2, 3]), 7)),
    ]
}

/// Does what was previewed, and holds the one against the other.
fn previewed(registry: &Registry, who: &str, op: Op) -> Preview {
    let before = (held(registry, false), registry.service.read(State::revision));
    let told = preview(registry, &op);
    assert_eq!(registry.service.read(State::revision), before.1, "nothing was written");
    assert_eq!((told.revision, told.unplanned), (before.1, 0));
    assert!(told.breaker.is_none());
    let done = registry.ask(who, "", op).unwrap();
    assert_eq!(told.grants, done.grants);
    let after = held(registry, true);
    let happens = after.iter().map(|(node, after)| (node.clone(), plan(after, &before.0[node])));
    let happens: BTreeMap<NodeId, Plan> = happens.filter(|(_, plan)| !plan.is_empty()).collect();
    assert!(!happens.is_empty());
    assert_eq!(told.plans.iter().cloned().collect::<BTreeMap<_, _>>(), happens);
    report_all(registry);
    told
}

#[test]
fn a_preview_is_what_then_happens_on_every_node_and_writes_nothing() {
    let registry = registry();
    for (who, op) in changes() {
        previewed(&registry, who, op);
    }
}

/// Of a pool of one address: who is asked for it, and what comes of that.
#[test]
fn what_an_address_of_its_own_changes_is_previewed_on_every_node() {
    let registry = registry();
    let mut pooled = farm(&[(1, 0), (2, 1)]);
    pooled.slots[0].public_v4 = Some("203.0.113.5/24".parse().unwrap());
    pooled.slots[0].default_v4 = Some("203.0.113.1".parse().unwrap());
    pooled.slots[0].pool_v4 = vec!["203.0.113.20".parse().unwrap()];
    registry.ask("alpha", "", put_farm(3, pooled.clone())).unwrap();
    let own = |told: &Preview| told.grants.iter().find_map(|held| held.own_v4);
    let web = |own_v4: OwnV4| {
        let draft = with(network("acme/web", 1, [2, 3]), &[("a", 2, 2), ("b", 3, 2)], &[]);
        NetworkDraft { own_v4, ..draft }
    };
    let whole = |name: &str| OwnV4 { whole: Some(name.parse().unwrap()), forwards: Vec::new() };
    let forward = |to| Forward { protocol: Protocol::Tcp, port: 443, workload: "b".parse().unwrap(), to };
    let forwards = |to| OwnV4 { whole: None, forwards: vec![forward(to)] };
    previewed(&registry, "acme", words(web(OwnV4::default()), 1));
    let told = previewed(&registry, "acme", words(web(whole("a")), 2));
    assert_eq!(own(&told), Some(pooled.slots[0].pool_v4[0]));
    for (version, own_v4) in (3..).zip([whole("b"), forwards(443), forwards(80)]) {
        assert!(own(&previewed(&registry, "acme", words(web(own_v4), version))).is_some());
    }
    let lab = with(network("globex/lab", 1, [2, 4]), &[("c", 4, 2)], &[]);
    let asks = NetworkDraft { own_v4: whole("c"), ..lab };
    assert_eq!(own(&previewed(&registry, "globex", words(asks, 1))), None, "there is one for one");
    // Who asks for none any more has it still, and nothing is made of it.
    assert!(own(&previewed(&registry, "acme", words(web(OwnV4::default()), 6))).is_some());
    registry.ask("acme", "", words(web(whole("a")), 7)).unwrap();
    // The farmer takes it away: no node that has a part in it goes on.
    pooled.slots[0].pool_v4 = vec!["203.0.113.21".parse().unwrap()];
    registry.ask("alpha", "", put_farm(4, pooled)).unwrap();
    let leads = |state: &NodeState| {
        let tables = state.namespaces.values().filter_map(|ns| ns.firewall.as_ref());
        tables.flat_map(|table| table.elements.keys()).any(|key| ["own_v4", "open_v4"].contains(&&*key.set.0))
    };
    assert!(held(&registry, true).values().all(|state| !leads(state)));
    previewed(&registry, "acme", words(web(whole("b")), 8));
    assert!(held(&registry, true).values().any(leads), "it has the one that there is now");
}

#[test]
fn what_is_gained_and_lost_is_told_by_who_and_what() {
    let registry = registry();
    let mut text = String::new();
    for (who, op) in changes() {
        let told = preview(&registry, &op);
        text += &format!("# {} version {}\n", who, op.said().unwrap().version);
        for (sign, ways) in [("+", told.gained), ("-", told.lost)] {
            for way in ways {
                let traffic = way.traffic.map_or("any".to_owned(), |traffic| traffic.to_string());
                text += &format!("{sign} {} -> {} {} {traffic}\n", way.from, way.to, way.family);
            }
        }
        registry.ask(who, "", op).unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_preview_refuses_what_a_change_would_and_says_what_must_be_confirmed() {
    let registry = registry();
    let refused = registry.service.preview(&put_network(1, network("acme/web", 1, [99])), now()).err();
    assert!(matches!(refused, Some(Failed::Refused(Refusal::Invalid(_)))), "{refused:?}");
    for at in 0..10 {
        registry.ask("acme", "", put_network(1, network(&format!("acme/w{at}"), 1, [2]))).unwrap();
    }
    let much = put_network(2, network("acme/w0", 1, [3, 4, 5, 6, 2]));
    registry.ask("acme", "", much).unwrap();
    // The last network of a farm, on five nodes.
    for at in 1..10 {
        registry.ask("acme", "", remove_network(2, &format!("acme/w{at}"))).unwrap();
    }
    let op = remove_network(3, "acme/w0");
    let told = preview(&registry, &op);
    let Some(Refusal::Breaker { change, .. }) = told.breaker else { panic!("{:?}", told.breaker) };
    assert_eq!(change, op.digest());
}

/// A node's plan grows with its network: past a bound nodes are counted and not planned.
#[test]
fn a_network_of_many_nodes_is_told_in_part() {
    let nodes = 200;
    let registry = Registry::start(Memory::default(), &Hands::at(now().0)).furnish(nodes);
    let told = preview(&registry, &put_network(1, network("acme/web", 1, 0..nodes)));
    assert_eq!(told.grants.len(), nodes + 1);
    assert_eq!(told.plans.len() + told.unplanned, nodes);
    assert!(told.unplanned > 0 && told.plans.len() > 50, "{}", told.plans.len());
}
