//! Rows and sums from counters as a kernel has them: in slices, once round, and over what begins anew.

use sixfold_core::model::{LocalV4, Provision};
use sixfold_core::plan::Plan;
use sixfold_core::state::NodeState;
use sixfold_core::tenure::Duty;
use sixfold_kernel::{Keys, ObserveError, Report, Scope};

use super::*;
use crate::ground;

/// Counters, and how many links were asked for.
#[derive(Default)]
struct Counting {
    links: BTreeMap<IfName, LinkTraffic>,
    tallies: BTreeMap<(&'static str, Option<IfName>), u64>,
    asked: usize,
}

impl Kernel for Counting {
    fn observe(&mut self, _: &Scope) -> Result<NodeState, ObserveError> {
        unreachable!("nobody asks it for a state")
    }

    fn apply(&mut self, _: &Plan, _: &dyn Keys) -> Report {
        unreachable!("nobody changes it")
    }

    fn traffic(&mut self, _: &Netns, links: &BTreeSet<IfName>) -> BTreeMap<IfName, LinkTraffic> {
        self.asked += links.len();
        links.iter().filter_map(|link| Some((*link, *self.links.get(link)?))).collect()
    }

    fn tallies(&mut self, _: &Netns, set: &SetName) -> BTreeMap<Option<IfName>, Counter> {
        let of_set = self.tallies.iter().filter(|((name, _), _)| *name == set.0);
        of_set.map(|((_, link), packets)| (*link, counter(*packets))).collect()
    }
}

/// So many packets of a hundred bytes.
fn counter(packets: u64) -> Counter {
    Counter { packets, bytes: 100 * packets }
}

fn link(received: u64, received_v6: u64, sent: u64) -> LinkTraffic {
    LinkTraffic { received: counter(received), received_v6: counter(received_v6), sent: counter(sent) }
}

/// The holder of the first farm's slot, with both networks.
fn snapshot() -> Snapshot {
    let mut snapshot = ground::snapshot(&["farm.toml", "acme.toml", "globex.toml"], "ant");
    // The other one is only ready, and nobody leaves by it.
    snapshot.gateways.truncate(1);
    snapshot
}

fn links(snapshot: &Snapshot) -> Vec<IfName> {
    places(snapshot).iter().flat_map(|place| place.ways().map(|(_, link)| link).collect::<Vec<_>>()).collect()
}

#[test]
fn each_network_has_a_row_of_both_ways_and_families_and_of_what_was_stopped() {
    let snapshot = snapshot();
    let [first, second] = links(&snapshot)[..] else { panic!("two networks") };
    let tallies = [
        ((drops::ANSWERED, Some(first)), 4),
        ((drops::SPOOFED, Some(first)), 3),
        ((drops::BARRED, Some(second)), 2),
        ((drops::ERRORS, None), 5),
        ((drops::SHARES, Some(second)), 0),
        ((drops::BANDWIDTH_SENT, Some(second)), 8),
        ((drops::BANDWIDTH_RECEIVED, Some(second)), 6),
    ];
    let links = [(first, link(10, 7, 9)), (second, link(1, 1, 0))].into();
    let mut kernel = Counting { links, tallies: tallies.into(), asked: 0 };
    let mut traffic = Traffic::default();
    let told = traffic.read(&mut kernel, &snapshot).expect("all of two are read at once");
    let [gateway] = &told[..] else { panic!("one gateway") };
    assert_eq!(
        (gateway.slot.expect("of a slot"), gateway.outside_drops.get("refused")),
        (snapshot.gateways[0].slot, Some(&5))
    );
    let rows: BTreeMap<String, &NetworkTraffic> = gateway
        .networks
        .iter()
        .map(|row| {
            (Resource::derive(&gateway.allocation.expect("of a slot"), row.exit).to_exit.to_string(), row)
        })
        .collect();
    let row = rows[&first.to_string()];
    let packets = [row.sent, row.sent_v4, row.received, row.received_v4].map(|carried| carried.packets);
    assert_eq!((packets, row.received.bytes), ([7, 3, 5, 4], 500));
    assert_eq!(row.drops, [("spoofed".to_owned(), 3)].into());
    let stopped = [("bandwidth_received", 6), ("bandwidth_sent", 8), ("barred", 2)];
    assert_eq!(
        rows[&second.to_string()].drops,
        stopped.map(|(reason, count)| (reason.to_owned(), count)).into()
    );
    let mut names: Vec<String> = gateway.networks.iter().map(|row| row.network.to_string()).collect();
    names.sort();
    assert_eq!(names, ["acme/web", "globex/lab"]);
    let again: Vec<GatewayTraffic> =
        serde_json::from_str(&serde_json::to_string(&told).expect("keys are strings")).expect("as written");
    assert_eq!(again, told);
}

#[test]
fn sums_go_on_over_links_and_sets_that_begin_anew_and_never_fall() {
    let snapshot = snapshot();
    let [first, _] = links(&snapshot)[..] else { panic!("two networks") };
    let mut kernel = Counting::default();
    let mut traffic = Traffic::default();
    let mut read = |links: LinkTraffic, spoofed: u64| {
        kernel.links = [(first, links)].into();
        kernel.tallies = [((drops::SPOOFED, Some(first)), spoofed)].into();
        traffic.read(&mut kernel, &snapshot);
        let Flow { sent, received, drops, networks } = traffic.sums().clone();
        (networks, sent.packets, received.bytes, drops["spoofed"])
    };
    assert_eq!(read(link(10, 10, 20), 3), (2, 10, 2000, 3));
    assert_eq!(read(link(12, 12, 20), 3), (2, 12, 2000, 3), "the same again is no more");
    assert_eq!(read(link(1, 1, 2), 1), (2, 13, 2200, 4), "made anew");
    assert_eq!(read(link(1, 1, 3), 2), (2, 13, 2300, 5));
}

#[test]
fn what_a_gateway_carried_before_it_rested_is_not_counted_again_when_it_serves() {
    let (serves, mut rests) = (snapshot(), snapshot());
    rests.gateways[0].duty = Duty::Rest;
    let [first, _] = links(&serves)[..] else { panic!("two networks") };
    let mut kernel = Counting {
        links: [(first, link(10, 10, 20))].into(),
        tallies: [((drops::SPOOFED, Some(first)), 3)].into(),
        asked: 0,
    };
    let mut traffic = Traffic::default();
    let mut read = |kernel: &mut Counting, snapshot: &Snapshot| {
        traffic.read(kernel, snapshot);
        let Flow { sent, drops, networks, .. } = traffic.sums().clone();
        (networks, sent.packets, drops["spoofed"])
    };
    assert_eq!(read(&mut kernel, &serves), (2, 10, 3));
    assert_eq!(read(&mut kernel, &rests), (0, 10, 3));
    assert_eq!(read(&mut kernel, &serves), (2, 10, 3));
    // A look that fails is none at what began anew.
    let tallies = std::mem::take(&mut kernel.tallies);
    assert_eq!(read(&mut kernel, &serves), (2, 10, 3));
    kernel.tallies = tallies;
    assert_eq!(read(&mut kernel, &serves), (2, 10, 3));
}

#[test]
fn thousands_are_read_a_slice_each_second_and_told_of_once_round() {
    let mut snapshot = snapshot();
    let view = &mut snapshot.gateways[0];
    let all: Vec<PrefixIndex> = PrefixIndex::of_slot(view.slot).take(4000).collect();
    view.exits = all.iter().map(|exit| (*exit, vec![*exit])).collect();
    let mut kernel = Counting::default();
    let mut traffic = Traffic::default();
    let mut rounds = Vec::new();
    for second in 0..90 {
        let before = kernel.asked;
        if traffic.read(&mut kernel, &snapshot).is_some() {
            rounds.push(second);
        }
        assert_eq!(kernel.asked - before, 134, "a thirtieth each second");
    }
    assert_eq!(rounds, [0, 29, 59, 89]);
    // Where the first of a round is gone, another one is.
    for _ in 0..3 {
        traffic.read(&mut kernel, &snapshot);
        let first = traffic.first.clone().expect("a round has begun");
        let allocation = snapshot.gateways[0].allocation;
        let is_first = |exit: &PrefixIndex| Resource::derive(&allocation, *exit).to_exit == first.1;
        snapshot.gateways[0].exits.retain(|exit, _| !is_first(exit));
        assert!((0..31).any(|_| traffic.read(&mut kernel, &snapshot).is_some()));
    }
}

#[test]
fn a_node_that_has_no_gateway_any_more_leaves_no_file() {
    let mut snapshot = snapshot();
    let run = tempfile::tempdir().expect("a folder");
    let (mut traffic, mut kernel) = (Traffic::default(), Counting::default());
    let told = traffic.read(&mut kernel, &snapshot).expect("it has one");
    write(run.path(), &told).expect("there is room");
    assert_eq!(super::read(run.path()).expect("it is there"), Some(told));
    snapshot.gateways.clear();
    let told = traffic.read(&mut kernel, &snapshot).expect("it is told once");
    write(run.path(), &told).expect("it can be deleted");
    assert_eq!(super::read(run.path()).expect("it can be asked"), None);
    assert_eq!(traffic.read(&mut kernel, &snapshot), None);
    assert_eq!(traffic.sums().networks, 0);
}

/// Where the farmer and one of the two tenants say so: counted apart from what gateways carry.
#[test]
fn what_leaves_at_the_node_itself_is_told_beside_its_gateways() {
    let mut snapshot = snapshot();
    let way = LocalV4 {
        address: "192.168.7.50/24".parse().expect("an address"),
        router: "192.168.7.1".parse().expect("an address"),
    };
    let node = snapshot.node.id().clone();
    snapshot.provision = Some(Provision { local_v4: Some(way), ..Provision::none(node) });
    let by_gateway = links(&snapshot).len();
    let acme = snapshot.networks.iter_mut().find(|network| network.id.tenant.as_str() == "acme");
    acme.expect("it is there").local_v4 = true;
    let own = *links(&snapshot).last().expect("the node's own comes last");
    let mut kernel = Counting {
        links: [(own, link(7, 0, 5))].into(),
        tallies: [((drops::BARRED, Some(own)), 3)].into(),
        asked: 0,
    };
    let mut traffic = Traffic::default();
    let told = traffic.read(&mut kernel, &snapshot).expect("all are read at once");
    let [_, here] = &told[..] else { panic!("a gateway, and the node") };
    assert_eq!((here.slot, here.networks.len()), (None, 1));
    let row = &here.networks[0];
    assert_eq!(
        (row.network.to_string(), row.sent_v4.packets, row.drops["barred"]),
        ("acme/web".into(), 7, 3)
    );
    let (flow, leaving) = (traffic.sums(), traffic.leaving());
    assert_eq!((flow.networks, flow.sent.packets), (by_gateway as u64, 0));
    assert_eq!((leaving.networks, leaving.sent.packets, leaving.received.packets), (1, 7, 5));
}
