//! Changes by other hands are heard, each from its own namespace, within a second; others' affairs are not.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod ground;

use std::collections::BTreeSet;
use std::time::Duration;

use ground::{Node, alone, link, netns, run};
use sixfold_core::plan::{Op, Plan, Stage, Step};
use sixfold_core::state::Netns;
use sixfold_kernel::Scope;
use sixfold_kernel::linux::{Config, Watch};

const SECOND: Duration = Duration::from_secs(1);

/// Everything told until nothing is told for a while.
fn told(watch: &mut Watch) -> BTreeSet<Netns> {
    let mut all = BTreeSet::new();
    let mut patience = SECOND;
    loop {
        match watch.wait(patience).unwrap() {
            Scope::All => panic!("more than could be told"),
            Scope::Only(changed) if changed.is_empty() => return all,
            Scope::Only(changed) => all.extend(changed),
        }
        patience = Duration::from_millis(100);
    }
}

#[test]
fn each_change_is_heard_where_it_is() {
    alone(|| {
        run("ip netns add net-1234-1");
        run("ip netns add net-2345-1");
        let mut watch = Watch::new(&Config::default()).unwrap();
        for change in [
            "ip -n net-1234-1 link add pub-1234-1 type veth peer name there",
            "ip -n net-1234-1 link set pub-1234-1 up",
            "ip -n net-1234-1 link set there up",
            "ip -n net-1234-1 addr add 2001:db8::1/64 dev pub-1234-1 nodad",
            "ip -n net-1234-1 -6 route add 2001:db8:1::/48 dev pub-1234-1 proto 200",
            "ip -n net-1234-1 -4 route add 10.0.0.0/8 dev pub-1234-1 proto 200",
            "ip -n net-1234-1 -6 route replace blackhole 2001:db8:1::/48",
            "ip -n net-1234-1 -4 route replace blackhole 10.0.0.0/8",
            "ip -n net-1234-1 -6 route add 2001:db8:2::/48 dev pub-1234-1 proto 200",
            "ip -n net-1234-1 -6 route del 2001:db8:2::/48",
            "ip -n net-1234-1 addr del 2001:db8::1/64 dev pub-1234-1",
            "ip -n net-1234-1 neigh add 2001:db8::2 lladdr 02:00:00:00:00:01 dev pub-1234-1 nud permanent",
            "ip -n net-1234-1 neigh replace 2001:db8::2 lladdr 02:00:00:00:00:01 dev pub-1234-1 nud reachable",
            "ip -n net-1234-1 neigh replace 2001:db8::2 lladdr 02:00:00:00:00:01 dev pub-1234-1 nud stale",
            "ip -n net-1234-1 neigh del 2001:db8::2 dev pub-1234-1",
            "ip -n net-1234-1 nexthop add id 1 via fe80::1 dev pub-1234-1 proto 200",
            "ip -n net-1234-1 nexthop del id 1",
            "ip -n net-1234-1 link del pub-1234-1",
            "ip netns exec net-1234-1 nft add table inet sixfold",
            "ip netns exec net-1234-1 nft add chain inet sixfold forward",
            "ip netns exec net-1234-1 nft add rule inet sixfold forward drop",
            "ip netns exec net-1234-1 nft flush chain inet sixfold forward",
            "ip netns exec net-1234-1 nft flush ruleset",
            "ip netns del net-1234-1",
            "ip netns add net-1234-1",
        ] {
            run(change);
            assert_eq!(told(&mut watch), [netns("net-1234-1")].into(), "{change}");
        }
        run("ip link add br-1234-1 type bridge");
        assert_eq!(told(&mut watch), [Netns::Host].into());
        for foreign in [
            "ip link add foreign type veth peer name foreign1",
            "ip netns add mine",
            "ip -n mine link set lo up",
            "nft add table inet sixfold",
            "ip netns exec mine nft add table inet sixfold",
        ] {
            run(foreign);
            assert_eq!(told(&mut watch), BTreeSet::new(), "{foreign}");
        }
    });
}

#[test]
fn a_namespace_that_comes_later_is_heard_too() {
    alone(|| {
        let mut watch = Watch::new(&Config::default()).unwrap();
        assert_eq!(told(&mut watch), BTreeSet::new());
        let add = |name| Step { stage: Stage::AddNetns, netns: netns(name), op: Op::AddNetns };
        let mut node = Node::new();
        node.succeed(&Plan { steps: vec![add("net-1234-1"), add("gw-1-1")] });
        assert_eq!(told(&mut watch), [netns("net-1234-1"), netns("gw-1-1")].into());
        run("ip -n gw-1-1 link set lo down");
        assert_eq!(told(&mut watch), [netns("gw-1-1")].into());
        let op = Op::SetUp { name: link("lo"), up: false };
        node.succeed(&Plan { steps: vec![Step { stage: Stage::Dismantle, netns: netns("net-1234-1"), op }] });
        assert_eq!(told(&mut watch), [netns("net-1234-1")].into());
    });
}

/// A ruleset of thousands of rules is told by one short message: nothing is lost, and nothing else is looked at.
#[test]
fn a_large_transaction_is_heard_as_one_change() {
    alone(|| {
        run("ip netns add net-1234-1");
        let mut watch = Watch::new(&Config::default()).unwrap();
        let mut rules = String::from("table inet sixfold {\n chain forward {\n");
        for port in 1..20_000 {
            rules += &format!("  tcp dport {port} counter accept comment \"one of very many rules\"\n");
        }
        std::fs::write("/run/rules", rules + " }\n}\n").unwrap();
        for change in ["nft -f /run/rules", "nft flush ruleset"] {
            run(&format!("ip netns exec net-1234-1 {change}"));
            assert_eq!(told(&mut watch), [netns("net-1234-1")].into(), "{change}");
        }
    });
}
