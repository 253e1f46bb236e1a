//! Who may reach whom, as the seeds and the design say it, for the two examples.

use sixfold_core::model::Family;
use sixfold_core::name::rule;
use sixfold_core::reach::{By, Cell, End, Party, Reach, Traffic, Verdict, Way};

use crate::farm::Farm;

const TRAFFIC: [Traffic; 3] = [Traffic::Tcp(443), Traffic::Tcp(80), Traffic::Udp(53)];

fn matrix(farm: &Farm) -> Vec<Cell> {
    Reach::new(&farm.world, &farm.ledger).matrix(&TRAFFIC)
}

fn load(network: &str, name: &str) -> Party {
    Party::Workload { network: network.parse().unwrap(), name: name.parse().unwrap() }
}

fn between<'a>(cells: &'a [Cell], from: &Party, to: &Party, family: Family) -> Vec<(Traffic, &'a Verdict)> {
    let wanted = |cell: &&Cell| cell.from == *from && cell.to == *to && cell.family == family;
    cells.iter().filter(wanted).map(|cell| (cell.traffic, &cell.verdict)).collect()
}

/// The comment of the rule that stops it, or `unreachable`.
fn stop(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Passes => "passes".to_owned(),
        Verdict::Stopped(stop) => match &stop.by {
            By::Rule { comment, .. } => format!("{} {}: {comment}", stop.node, stop.netns),
            By::Unreachable => format!("{} {}: unreachable", stop.node, stop.netns),
        },
    }
}

#[test]
fn everyone_is_named_and_told_as_a_person_would() {
    let farm = Farm::first();
    let parties = Reach::new(&farm.world, &farm.ledger).parties();
    let told: Vec<String> = parties.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "acme/web:front",
            "acme/web:store",
            "acme/web:backup",
            "globex/lab:model",
            "globex/lab:sensor",
            "gateway 2001:db8:a:1000::/52",
            "internet"
        ]
    );
    assert_eq!(TRAFFIC.map(|traffic| traffic.to_string()), ["tcp/443", "tcp/80", "udp/53"]);
    assert_eq!(Traffic::Echo.to_string(), "echo");
    let cells = matrix(&farm);
    let stops: std::collections::BTreeSet<String> = cells
        .iter()
        .filter_map(|cell| match &cell.verdict {
            Verdict::Stopped(stop) => Some(stop.to_string()),
            Verdict::Passes => None,
        })
        .collect();
    assert!(
        stops.iter().any(|stop| stop.ends_with(&format!(": forward: {}", rule::NOT_EXPOSED))),
        "{stops:?}"
    );
}

#[test]
fn within_a_network_everything_passes_both_ways_in_both_families() {
    for farm in [Farm::first(), Farm::two()] {
        let cells = matrix(&farm);
        let same = cells.iter().filter(|cell| match (&cell.from, &cell.to) {
            (Party::Workload { network: one, .. }, Party::Workload { network: other, .. }) => one == other,
            _ => false,
        });
        let verdicts: Vec<_> = same.map(|cell| &cell.verdict).collect();
        // Per network w workloads: w(w-1) pairs, two families, an echo and three ports.
        assert!(verdicts.len() >= (6 + 2) * 2 * 4);
        assert!(verdicts.into_iter().all(|verdict| *verdict == Verdict::Passes));
    }
}

#[test]
fn another_tenant_gets_what_is_exposed_and_nothing_else() {
    let farm = Farm::first();
    let cells = matrix(&farm);
    let (model, front, store) =
        (load("globex/lab", "model"), load("acme/web", "front"), load("acme/web", "store"));
    let to_front = between(&cells, &model, &front, Family::Ipv6);
    let passing: Vec<_> = to_front.iter().filter(|(_, v)| **v == Verdict::Passes).map(|(t, _)| *t).collect();
    assert_eq!(passing, [Traffic::Tcp(443)]);
    for (_, verdict) in between(&cells, &model, &store, Family::Ipv6) {
        assert!(
            stop(verdict).ends_with(rule::NOT_EXPOSED),
            "stopped where the workload is: {}",
            stop(verdict)
        );
        assert!(stop(verdict).starts_with("bee net-"));
    }
}

#[test]
fn over_ipv4_no_tenant_finds_another() {
    let farm = Farm::first();
    let cells = matrix(&farm);
    let (sensor, front) = (load("globex/lab", "sensor"), load("acme/web", "front"));
    for (one, other, node) in [(&sensor, &front, "cat"), (&front, &sensor, "ant")] {
        for (_, verdict) in between(&cells, one, other, Family::Ipv4) {
            assert!(
                stop(verdict).starts_with(node) && stop(verdict).ends_with("unreachable"),
                "{}",
                stop(verdict)
            );
        }
    }
}

#[test]
fn the_internet_reaches_one_port_and_is_reached_by_all() {
    let farm = Farm::first();
    let cells = matrix(&farm);
    let from_outside = cells.iter().filter(|cell| cell.from == Party::Internet);
    let passing: Vec<_> = from_outside
        .filter(|cell| cell.verdict == Verdict::Passes && matches!(cell.to, Party::Workload { .. }))
        .map(|cell| (cell.to.clone(), cell.family, cell.traffic))
        .collect();
    assert_eq!(passing, [(load("acme/web", "front"), Family::Ipv6, Traffic::Tcp(443))]);
    let outward =
        cells.iter().filter(|cell| cell.to == Party::Internet && matches!(cell.from, Party::Workload { .. }));
    assert!(
        outward.clone().count() == 5 * 2 * 4
            && outward.into_iter().all(|cell| cell.verdict == Verdict::Passes)
    );
}

#[test]
fn without_a_public_ipv4_a_slot_has_no_way_out_for_it() {
    let farm = include_str!("../../../../examples/first-farm/farm.toml");
    let farm: String = farm
        .lines()
        .filter(|line| !line.starts_with("public_v4") && !line.starts_with("default_v4"))
        .map(|line| format!("{line}\n"))
        .collect();
    let acme = include_str!("../../../../examples/first-farm/acme.toml");
    let farm = Farm::new(&[("farm.toml", &farm), ("acme.toml", acme)]);
    let cells = matrix(&farm);
    let out = between(&cells, &load("acme/web", "front"), &Party::Internet, Family::Ipv4);
    assert_eq!(stop(out[0].1), "ant gw-1-1: unreachable");
    assert!(!cells.iter().any(|cell| cell.family == Family::Ipv4 && matches!(cell.to, Party::Gateway(_))));
}

/// A farmer behind a router of its own may have only private addresses to give.
#[test]
fn a_gateways_private_ipv4_address_is_reached_by_nobody_behind_another() {
    let file = include_str!("../../../../examples/first-farm/farm.toml");
    let acme = include_str!("../../../../examples/first-farm/acme.toml");
    let globex = include_str!("../../../../examples/first-farm/globex.toml").replace("slot = 1", "slot = 2");
    let addresses = [
        ("100.64.0.6", true),
        ("100.127.255.6", true),
        ("169.254.1.6", true),
        ("172.16.0.6", true),
        ("192.168.1.6", true),
        ("100.63.255.6", false),
        ("100.128.0.6", false),
        ("101.64.0.6", false),
        ("203.0.113.6", false),
    ];
    for (address, private) in addresses {
        let file = file.replace("public_v4 = \"203.0.113.6/24\"", &format!("public_v4 = \"{address}/24\""));
        let router = address.strip_suffix("6").unwrap().to_owned() + "1";
        let (before, after) = file.split_once(address).unwrap();
        let file = format!("{before}{address}{}", after.replace("203.0.113.1\"", &format!("{router}\"")));
        let farm = Farm::new(&[("farm.toml", &file), ("acme.toml", acme), ("globex.toml", &globex)]);
        let cells = matrix(&farm);
        let there = cells.iter().find(|cell| matches!(&cell.to, Party::Gateway(key) if key.slot.get() == 2));
        let cells = between(&cells, &load("acme/web", "front"), &there.unwrap().to, Family::Ipv4);
        let expected =
            if private { format!("ant gw-1-1: {}", rule::BOGON_OUT_V4) } else { "passes".to_owned() };
        assert_eq!(stop(cells[0].1), expected, "{address}");
    }
}

#[test]
fn a_gateway_answers_echoes_and_nothing_else() {
    let farm = Farm::first();
    let cells = matrix(&farm);
    for cell in cells.iter().filter(|cell| matches!(cell.to, Party::Gateway(_))) {
        match cell.traffic {
            Traffic::Echo => assert_eq!(cell.verdict, Verdict::Passes),
            _ => assert_eq!(stop(&cell.verdict), format!("ant gw-1-1: {}", rule::CLOSED)),
        }
    }
}

/// The first example with some lines of its farm file replaced.
fn first_with(changes: &[(&str, &str)], acme_exit: &str) -> Farm {
    let mut text = include_str!("../../../../examples/first-farm/farm.toml").to_owned();
    for (old, new) in changes {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    let acme = include_str!("../../../../examples/first-farm/acme.toml").replace("slot = 1", acme_exit);
    let globex = include_str!("../../../../examples/first-farm/globex.toml");
    let farm = Farm::new(&[("farm.toml", &text), ("acme.toml", &acme), ("globex.toml", globex)]);
    crate::walk::assert_as_told(&farm);
    farm
}

fn gateway(slot: u8) -> Party {
    let prefix = "2001:db8:a::/48".parse().unwrap();
    Party::Gateway(sixfold_core::model::SlotKey { prefix, slot: slot.try_into().unwrap() })
}

/// The verdict on an echo.
fn echo(cells: &[Cell], from: &Party, to: &Party, family: Family) -> String {
    let told = between(cells, from, to, family);
    told.iter()
        .find(|(traffic, _)| *traffic == Traffic::Echo)
        .map_or("no cell".into(), |(_, verdict)| stop(verdict))
}

#[test]
fn the_gateway_of_another_slot_is_reached_like_any_host_outside() {
    let cells = matrix(&first_with(&[], "slot = 2"));
    let (front, model) = (load("acme/web", "front"), load("globex/lab", "model"));
    for family in [Family::Ipv6, Family::Ipv4] {
        for (from, to) in [(&front, gateway(1)), (&front, gateway(2)), (&model, gateway(2))] {
            assert_eq!(echo(&cells, from, &to, family), "passes", "{from} {to} {family}");
        }
    }
    // It has no route to the other slot's private addresses, and to its own tenants it is a stranger.
    assert_eq!(echo(&cells, &gateway(1), &front, Family::Ipv4), "ant gw-1-1: unreachable");
    assert!(echo(&cells, &gateway(2), &front, Family::Ipv4).ends_with(rule::NOT_EXPOSED));
    assert!(echo(&cells, &gateway(1), &front, Family::Ipv6).ends_with(rule::NOT_EXPOSED));
    assert_eq!(echo(&cells, &gateway(1), &gateway(2), Family::Ipv6), "no cell");
}

#[test]
fn a_management_prefix_over_the_segment_bars_the_other_gateway_and_not_ones_own() {
    let all = "management = [\"203.0.113.0/24\", \"2001:db8:a::/64\"]";
    let cells = matrix(&first_with(&[("management = [\"192.0.2.0/24\"]", all)], "slot = 2"));
    let front = load("acme/web", "front");
    for (family, comment) in [(Family::Ipv6, rule::BOGON_OUT), (Family::Ipv4, rule::BOGON_OUT_V4)] {
        assert_eq!(
            echo(&cells, &front, &gateway(2), family),
            "passes",
            "its own, which it meets before the border"
        );
        assert_eq!(echo(&cells, &front, &gateway(1), family), format!("bee gw-2-1: {comment}"));
        assert_eq!(echo(&cells, &front, &Party::Internet, family), "passes");
    }
    // And what claims to come from there is stopped on its way in.
    assert_eq!(echo(&cells, &gateway(1), &front, Family::Ipv6), format!("bee gw-2-1: {}", rule::BOGON_IN));
}

#[test]
fn a_management_prefix_over_a_slot_bars_tenants_of_other_slots_and_not_its_own() {
    let slice = "management = [\"2001:db8:a:1000::/52\"]";
    let cells = matrix(&first_with(&[("management = [\"192.0.2.0/24\"]", slice)], "slot = 2"));
    let (front, store, model) =
        (load("acme/web", "front"), load("acme/web", "store"), load("globex/lab", "model"));
    assert_eq!(echo(&cells, &front, &model, Family::Ipv6), format!("bee gw-2-1: {}", rule::BOGON_OUT));
    assert_eq!(echo(&cells, &model, &front, Family::Ipv6), format!("bee gw-2-1: {}", rule::BOGON_IN));
    assert_eq!(echo(&cells, &front, &store, Family::Ipv6), "passes");
    assert_eq!(echo(&cells, &model, &Party::Internet, Family::Ipv6), "passes");
}

#[test]
fn a_private_address_of_a_slot_is_a_bogon_to_the_tenants_of_another() {
    let private = [(
        "public_v4 = \"203.0.113.5/24\"\ndefault_v4 = \"203.0.113.1\"",
        "public_v4 = \"192.168.9.5/24\"\ndefault_v4 = \"192.168.9.1\"",
    )];
    let cells = matrix(&first_with(&private, "slot = 2"));
    let (front, model) = (load("acme/web", "front"), load("globex/lab", "model"));
    assert_eq!(
        echo(&cells, &front, &gateway(1), Family::Ipv4),
        format!("bee gw-2-1: {}", rule::BOGON_OUT_V4)
    );
    assert_eq!(echo(&cells, &model, &gateway(1), Family::Ipv4), "passes");
    assert_eq!(
        echo(&cells, &model, &Party::Internet, Family::Ipv4),
        "passes",
        "behind the operator's own NAT"
    );
}

#[test]
fn without_a_public_ipv4_nothing_comes_in_nor_goes_out_by_it() {
    let without = [("public_v4 = \"203.0.113.5/24\"\n", ""), ("default_v4 = \"203.0.113.1\"\n\n", "\n")];
    let cells = matrix(&first_with(&without, "slot = 2"));
    let model = load("globex/lab", "model");
    assert_eq!(echo(&cells, &model, &Party::Internet, Family::Ipv4), "ant gw-1-1: unreachable");
    assert_eq!(echo(&cells, &model, &gateway(2), Family::Ipv4), "ant gw-1-1: unreachable");
    assert_eq!(echo(&cells, &gateway(1), &Party::Internet, Family::Ipv4), "ant gw-1-1: unreachable");
    let inward = echo(&cells, &Party::Internet, &model, Family::Ipv4);
    assert_eq!(
        inward, "no cell",
        "nothing outside routes to a private address by a slot without a public one"
    );
}

#[test]
fn an_ipv4_address_that_the_senders_own_network_has_too_is_no_question() {
    let mut farm = Farm::two();
    let (acme, globex) = ("acme/span".parse().unwrap(), "globex/lab".parse().unwrap());
    let seat = |node: &str| sixfold_core::model::Seat::Node(node.parse().unwrap());
    let of = |farm: &Farm, network, node: &str| {
        let (key, grant) =
            farm.ledger.grants_of(network).find(|(_, grant)| grant.seat == seat(node)).unwrap();
        (key, grant.clone())
    };
    // globex's resource on owl is granted anew, at the index of acme's on ant in the other allocation.
    let (taken, _) = of(&farm, &acme, "ant");
    let (old, grant) = of(&farm, &globex, "owl");
    let released = grant.release(sixfold_core::id::Timestamp(0), std::collections::BTreeSet::new());
    let again = sixfold_core::model::ResourceKey { index: taken.index, ..old };
    let grants = [(old, released), (again, grant)].into();
    let change = sixfold_core::model::LedgerChange { grants, ..Default::default() };
    farm.ledger.commit(&farm.ledger.read([]), change).unwrap();
    farm.report();
    crate::walk::assert_as_told(&farm);
    let cells = matrix(&farm);
    let (front, store) = (load("acme/span", "front"), load("acme/span", "store"));
    let (model, sensor) = (load("globex/lab", "model"), load("globex/lab", "sensor"));
    assert_eq!(echo(&cells, &store, &sensor, Family::Ipv4), "no cell", "to acme it is front's");
    assert_eq!(echo(&cells, &model, &front, Family::Ipv4), "no cell", "to globex it is sensor's");
    assert!(echo(&cells, &store, &model, Family::Ipv4).ends_with("unreachable"));
    assert_eq!(echo(&cells, &front, &store, Family::Ipv4), "passes");
    for (to, told) in [(&front, "no cell"), (&sensor, "no cell"), (&store, rule::UNASKED_V4)] {
        let verdict = echo(&cells, &Party::Internet, to, Family::Ipv4);
        assert!(verdict.ends_with(told), "the Internet to {to}: {verdict}");
    }
    assert!(echo(&cells, &store, &sensor, Family::Ipv6).ends_with(rule::NOT_EXPOSED));
}

/// A line for each way of a network.
fn ways(farm: &Farm, network: &str) -> Vec<String> {
    let told = |way: Way| {
        let Way { from, to, family, traffic } = way;
        let what = traffic.map_or_else(|| "anything".to_owned(), |traffic| traffic.to_string());
        format!("{from} > {to}: {family} {what}")
    };
    Reach::new(&farm.world, &farm.ledger)
        .of_network(&network.parse().unwrap())
        .into_iter()
        .map(told)
        .collect()
}

#[test]
fn a_networks_ways_are_a_line_for_each_of_its_workloads() {
    let farm = Farm::first();
    let expected = [
        "acme/web:backup > acme/web: ipv6 anything",
        "acme/web:backup > acme/web: ipv4 anything",
        "acme/web:backup > internet: ipv6 anything",
        "acme/web:backup > internet: ipv4 anything",
        "acme/web:front > acme/web: ipv6 anything",
        "acme/web:front > acme/web: ipv4 anything",
        "acme/web:front > internet: ipv6 anything",
        "acme/web:front > internet: ipv4 anything",
        "acme/web:store > acme/web: ipv6 anything",
        "acme/web:store > acme/web: ipv4 anything",
        "acme/web:store > internet: ipv6 anything",
        "acme/web:store > internet: ipv4 anything",
        "internet > acme/web:front: ipv6 tcp/443",
    ];
    assert_eq!(ways(&farm, "acme/web"), expected);
    assert_eq!(ways(&farm, "acme/nothing"), [""; 0]);
    // What is told in lines is what the whole matrix says of every pair.
    let cells = matrix(&farm);
    let outward = cells.iter().filter(|cell| cell.to == Party::Internet && cell.verdict == Verdict::Passes);
    let from_web = outward.filter(|cell| cell.from.to_string().starts_with("acme/web:"));
    assert_eq!(from_web.count(), 6 * (1 + TRAFFIC.len()));
}

#[test]
fn ways_go_with_what_they_need() {
    let farm = include_str!("../../../../examples/first-farm/farm.toml");
    let alone = r#"
        tenant = "acme"
        network = "web"
        nodes = ["bee"]
        exit = { farm = "alpha", slot = 2 }
        workload = [{ name = "store", node = "bee" }]
        expose = [
            { workload = "store", protocol = "udp", port = 53 },
            { workload = "store", protocol = "tcp", port = 53 },
        ]
    "#;
    // A workload by itself has nobody to reach within.
    let mut farm_of_one = Farm::new(&[("farm.toml", farm), ("acme.toml", alone)]);
    let exposed = ["internet > acme/web:store: ipv6 tcp/53", "internet > acme/web:store: ipv6 udp/53"];
    let (out, out_v4) =
        ("acme/web:store > internet: ipv6 anything", "acme/web:store > internet: ipv4 anything");
    assert_eq!(ways(&farm_of_one, "acme/web"), [out, out_v4, exposed[0], exposed[1]]);
    farm_of_one.take_ports("acme/web");
    assert_eq!(ways(&farm_of_one, "acme/web"), [out, exposed[0], exposed[1]]);
}

#[test]
fn the_ends_of_a_way_are_told_apart() {
    let network: sixfold_core::id::NetworkId = "acme/web".parse().unwrap();
    let ends =
        [End::Workload(network.clone(), "front".parse().unwrap()), End::Network(network), End::Internet];
    assert_eq!(ends.map(|end| end.to_string()), ["acme/web:front", "acme/web", "internet"]);
}
