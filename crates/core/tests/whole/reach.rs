//! Who may reach whom, as the seeds and the rules of the issue say it, for the two examples.

use sixfold_core::model::Family;
use sixfold_core::name::rule;
use sixfold_core::reach::{By, Cell, Party, Reach, Traffic, Verdict};

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
