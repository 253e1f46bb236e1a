//! A slot with two next hops: what its gateway is on the node that holds it, on the second, and on one that stands by.

use sixfold_core::desire::{Own, Roles, desire};
use sixfold_core::model::SlotKey;
use sixfold_core::plan::{Op, plan};
use sixfold_core::state::{Namespace, NodeState};
use sixfold_core::tenure::Duty;

use super::addresses::{addresses, at, mac, routes};
use crate::farm::{Farm, bare, own, reach};

/// The first example, whose slot 1 has two next hops.
fn farm() -> Farm {
    let text = include_str!("../../../../../examples/first-farm/farm.toml");
    let holders = "holders = [\"ant\", \"bee\"]";
    let text = text.replace(holders, &format!("{holders}\necmp = true"));
    assert!(text.contains("ecmp"));
    Farm::new(&[
        ("farm.toml", &text),
        ("acme.toml", include_str!("../../../../../examples/first-farm/acme.toml")),
        ("globex.toml", include_str!("../../../../../examples/first-farm/globex.toml")),
    ])
}

/// What bee is to be, doing this for slot 1.
fn bee(duty: Duty, second: bool) -> NodeState {
    let snapshot = farm().snapshot(&"bee".parse().unwrap());
    let slot: SlotKey = "2001:db8:a::/48#1".parse().unwrap();
    let own = Own {
        roles: Roles { duties: [(slot, duty)].into(), seconds: [(slot, second)].into() },
        ..own(&snapshot)
    };
    desire(&snapshot, &own)
}

/// Routes by the link to the segment.
fn out(ns: &Namespace) -> Vec<String> {
    routes(ns).into_iter().filter(|route| route.contains("pub-1-1")).collect()
}

fn public(ns: &Namespace) -> (bool, String, Vec<String>) {
    let link = &ns.links[&"pub-1-1".parse().unwrap()];
    let on = addresses(ns).into_iter().filter_map(|it| Some(it.strip_prefix("pub-1-1 ")?.to_owned()));
    (link.up, mac(ns, "pub-1-1"), on.collect())
}

const FIRST: [&str; 3] = ["203.0.113.5/24", "2001:db8:a:0:1000::1/64", "fe80::1000:0:0:1/64"];
const SECOND: [&str; 2] = ["2001:db8:a:0:1000::2/64", "fe80::1000:0:0:2/64"];

#[test]
fn the_second_forwards_ipv6_by_addresses_of_its_own_and_has_no_ipv4() {
    let (holder, second) = (bee(Duty::Hold, false), bee(Duty::Rest, true));
    let [holder, second] = [&holder, &second].map(|state| at(state, "gw-1-1"));
    let is = |ns, (up, mac, addresses): (bool, &str, &[&str])| {
        assert_eq!(public(ns), (up, mac.to_owned(), addresses.iter().map(ToString::to_string).collect()));
    };
    is(holder, (true, "02:6f:00:01:01:01", &FIRST));
    is(second, (true, "02:6f:00:01:01:02", &SECOND));
    assert_eq!(out(second), ["::/0 via fe80::1 dev pub-1-1", "2001:db8:a::/64 via fe80::1 dev pub-1-1"]);
    // All else is the same: what is closed at the one is closed at the other.
    assert_eq!(second.firewall, holder.firewall);
    let inner = |ns: &Namespace| {
        let mut ns = ns.clone();
        ns.links.remove(&"pub-1-1".parse().unwrap());
        ns.addresses.retain(|key, ()| key.link.as_str() != "pub-1-1");
        ns.routes.retain(|_, target| target.link().is_none_or(|link| link.as_str() != "pub-1-1"));
        ns
    };
    assert_eq!(inner(second), inner(holder));
    // And a node that stands by is as if there were one next hop.
    let ready = bee(Duty::Rest, false);
    is(at(&ready, "gw-1-1"), (false, "02:6f:00:01:01:01", &FIRST));
    assert_eq!(out(at(&ready, "gw-1-1")), [""; 0]);
}

#[test]
fn a_holder_that_stands_in_has_both_next_hops_addresses() {
    let (alone, both) = (bee(Duty::Hold, false), bee(Duty::Hold, true));
    let steps = plan(&both, &alone).steps;
    assert_eq!(steps.len(), 2, "{steps:?}");
    let added = steps.iter().map(|step| match &step.op {
        Op::AddAddress(key) => key.address.to_string(),
        other => panic!("{other:?}"),
    });
    assert_eq!(added.collect::<Vec<_>>(), SECOND);
}

/// Between hearing that it holds the slot and serving: its link stays up, and what came by it goes on coming.
#[test]
fn the_second_becomes_the_holder_by_another_hardware_address_and_more_addresses() {
    let mut state = bare();
    reach(&mut state, &bee(Duty::Rest, true));
    let steps: Vec<String> =
        plan(&bee(Duty::Hold, true), &state).steps.iter().map(ToString::to_string).collect();
    let wanted = [
        "ip -n gw-1-1 link set pub-1-1 address 02:6f:00:01:01:01",
        "ip -n gw-1-1 addr add 203.0.113.5/24 dev pub-1-1",
    ];
    assert_eq!(steps.len(), 7, "{steps:#?}");
    for (step, wanted) in steps.iter().zip(wanted) {
        assert!(step.starts_with(wanted), "{steps:#?}");
    }
    for (step, to) in steps[4..].iter().zip(["0.0.0.0/0", "203.0.113.0/25", "203.0.113.128/25"]) {
        assert!(step.contains(to), "{steps:#?}");
    }
}

/// Whoever held the slot is cut off before it is anything else.
#[test]
fn whoever_stops_is_cut_off_first() {
    for (before, after) in
        [((Duty::Hold, true), (Duty::Rest, false)), ((Duty::Rest, true), (Duty::Rest, false))]
    {
        let mut state = bare();
        reach(&mut state, &bee(before.0, before.1));
        let change = plan(&bee(after.0, after.1), &state);
        assert_eq!(change.steps[0].to_string(), "ip -n gw-1-1 link set pub-1-1 down", "{change}");
    }
}

#[test]
fn the_farmers_list_says_who_is_the_second() {
    let farm = farm();
    let of = |node: &str| farm.snapshot(&node.parse().unwrap()).gateways.into_iter().map(|view| view.second);
    let bee = || Some("bee".parse().unwrap());
    assert_eq!(of("ant").collect::<Vec<_>>(), [bee(), None]);
    assert_eq!(of("bee").collect::<Vec<_>>(), [bee(), None]);
    let cats = farm.snapshot(&"cat".parse().unwrap());
    assert!(cats.networks.iter().all(|network| network.ecmp), "its members know");
    assert!(Farm::first().snapshot(&"cat".parse().unwrap()).networks.iter().all(|network| !network.ecmp));
    let state = farm.desired(&"bee".parse().unwrap());
    assert_eq!(public(at(&state, "gw-1-1")).1, "02:6f:00:01:01:02", "where nobody says otherwise");
}
