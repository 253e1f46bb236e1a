//! The links that a node of a farm stands on: a VLAN, a bond, a VLAN on a bond; and what is said of one that cannot carry it.
//! Where this kernel has neither, the test runs itself on Debian's stock kernel in a virtual machine. Needs root and ip.
//!
//! ```text
//! public, gw-1-1 ── macvlan ── bond0.20 ── bond0 ─┬─ p0 ── q0 ─┬─ wire ── wire.20   the router
//!                                                 └─ p1 ── q1 ─┘
//! ```
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod ground;

use std::process::Command;

use ground::{Node, alone, chain, ip, link, run};
use serde_json::Value;
use sixfold_core::desire::{Own, desire};
use sixfold_core::plan::plan;
use sixfold_core::spec::parse_all;
use sixfold_core::state::{Backend, Netns, NodeState};
use sixfold_core::trial::Trial;
use sixfold_kernel::Failure;

const MODULES: &str = "8021q,bonding,veth,macvlan,bridge,nf_tables,nft_fib_inet,nft_fib_ipv4,nft_fib_ipv6,nft_ct,nft_limit,nft_nat,nft_chain_nat,nft_connlimit,nft_reject_inet";

/// A node of the first farm that stands on this link, without tunnels.
fn standing_on(nic: &str) -> NodeState {
    standing_on_two(nic, nic)
}

/// The same, with its gateways on another link than its own traffic.
fn standing_on_two(nic: &str, gateway_nic: &str) -> NodeState {
    let farm = include_str!("../../../examples/first-farm/farm.toml");
    let farm = farm.replacen("name = \"ant\"\n", &format!("name = \"ant\"\nnic = \"{nic}\"\n"), 1);
    let farm = format!("{farm}\n[[provision]]\nnode = \"ant\"\ngateway_nic = \"{gateway_nic}\"\n");
    let files =
        [("farm.toml", farm.as_str()), ("acme.toml", include_str!("../../../examples/first-farm/acme.toml"))];
    let world = parse_all(&files.map(|(name, text)| (name.to_owned(), text.to_owned()))).unwrap();
    let snapshot = Trial::new(world).unwrap().snapshot(&"ant".parse().unwrap()).unwrap();
    desire(&snapshot, &Own::of(Backend::Tunnel))
}

fn nothing() -> NodeState {
    let mut state = NodeState::default();
    state.at(Netns::Host);
    state
}

#[test]
fn vlans_and_bonds_carry_a_node() {
    let bond = ["--net", "ip", "link", "add", "bond0", "type", "bond"];
    if !Command::new("unshare").args(bond).output().is_ok_and(|made| made.status.success()) {
        let program = std::env::current_exe().unwrap();
        let mut machine = Command::new(env!("CARGO"));
        machine.args(["xtask", "vm", "--modules", MODULES, "--"]).arg(program);
        machine.args(["--exact", "vlans_and_bonds_carry_a_node", "--nocapture"]);
        let output = machine.output().expect("cargo runs");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "on the stock kernel (cargo xtask vm):\n{text}");
        assert!(text.contains("1 passed"), "the machine did not run the test:\n{text}");
        return;
    }
    alone(|| is_carried_by("p0.20"));
    alone(|| is_carried_by("bond0"));
    alone(|| is_carried_by("bond0.20"));
    alone(gateways_have_a_link_of_their_own);
    alone(|| a_link_that_is(Unfit::PortOfABond));
}

/// The node's own traffic by one cable, without a tag, and what its gateways forward by the other, with one.
fn gateways_have_a_link_of_their_own() {
    cables("p0.20");
    run("ip link set p1 up");
    run("ip link add link p1 name p1.20 type vlan id 20");
    run("ip link set p1.20 up");
    let before = links();
    let mut node = Node::new();
    node.converge(&standing_on_two("p0.20", "p1.20"));
    answers();
    run("ip link set p0 down");
    let answers = |address| {
        let mut ping = Command::new("ip");
        ping.args(["netns", "exec", "far", "ping", "-c", "2", "-i", "0.2", "-W", "1", address]);
        ping.output().unwrap().status.success()
    };
    assert!(answers("2001:db8:a:0:1000::1"), "a gateway forwards when the node's own cable is out");
    assert!(!answers("2001:db8:a::a1"), "the node's own traffic has no other cable");
    run("ip link set p0 up");
    node.converge(&nothing());
    assert_eq!(links(), before);
}

/// Two cables to a router that has its addresses on `nic`'s far side alone: behind the same tag, or without one.
fn cables(nic: &str) {
    run("ip netns add far");
    run("ip -n far link add wire type bridge");
    run("ip -n far link set wire up");
    for at in ["0", "1"] {
        run(&format!("ip link add p{at} type veth peer name q{at} netns far"));
        run(&format!("ip -n far link set q{at} master wire up"));
    }
    if nic.starts_with("bond0") {
        run("ip link add bond0 type bond mode active-backup miimon 50");
        run("ip link set p0 master bond0");
        run("ip link set p1 master bond0");
        run("ip link set bond0 up");
    } else {
        run("ip link set p0 up");
    }
    let router = if let Some((below, tag)) = nic.split_once('.') {
        run(&format!("ip link add link {below} name {nic} type vlan id {tag}"));
        run(&format!("ip link set {nic} up"));
        run(&format!("ip -n far link add link wire name wire.{tag} type vlan id {tag}"));
        format!("wire.{tag}")
    } else {
        "wire".to_owned()
    };
    run(&format!("ip -n far link set {router} up"));
    for address in ["fe80::1/64", "2001:db8:a::1/64"] {
        run(&format!("ip -n far addr add {address} dev {router} nodad"));
    }
    run(&format!("ip -n far addr add 203.0.113.1/24 dev {router}"));
}

/// The namespace `public` and the gateway answer from outside.
fn answers() {
    for address in ["2001:db8:a::a1", "2001:db8:a:0:1000::1", "203.0.113.11", "203.0.113.5"] {
        run(&format!("ip netns exec far ping -c 2 -i 0.2 -W 5 {address}"));
    }
}

/// Each link of the host's, as it is set up; what of it follows from cables is left out.
fn links() -> Value {
    let mut links = ip("-d link show");
    for link in links.as_array_mut().unwrap() {
        let link = link.as_object_mut().unwrap();
        link.remove("operstate");
        let flags = link["flags"].as_array_mut().unwrap();
        flags.retain(|flag| flag != "LOWER_UP" && flag != "NO-CARRIER" && flag != "M-DOWN");
        let Some(info) = link.get_mut("linkinfo").and_then(Value::as_object_mut) else { continue };
        info.remove("info_slave_data");
        info.get_mut("info_data").and_then(|data| data.as_object_mut()?.remove("active_slave"));
    }
    links
}

fn is_carried_by(nic: &str) {
    cables(nic);
    let before = links();
    let mut node = Node::new();
    node.converge(&standing_on(nic));
    answers();
    if nic.starts_with("bond0") {
        run("ip link set p0 down");
        answers();
        let rest = plan(&standing_on(nic), &node.observe());
        assert!(rest.is_empty(), "a cable that is out is no difference:\n{rest}");
        run("ip link set p0 up");
        run("ip link set p1 down");
        run("ip link set p1 up");
        answers();
    }
    node.converge(&nothing());
    assert_eq!(links(), before, "{nic} is as it was");
}

/// Why a link carries nothing.
#[derive(Debug, Clone, Copy)]
enum Unfit {
    NotThere,
    PortOfABond,
    PortOfABridge,
    Macvlan,
    Narrow,
}

/// Nothing is made on it, what is said names it and the way out, and it stays as it is.
fn a_link_that_is(unfit: Unfit) {
    run("ip link add uplink type veth peer name other");
    let (said, hint) = match unfit {
        Unfit::NotThere => {
            run("ip link del uplink");
            ("no link uplink", "this node's `nic` or `gateway_nic` in the farm file")
        }
        Unfit::PortOfABond => {
            run("ip link add bond0 type bond");
            run("ip link set uplink master bond0");
            ("link uplink is a port of the bond bond0", "name that one")
        }
        Unfit::PortOfABridge => {
            run("ip link add br0 type bridge");
            run("ip link set uplink master br0");
            ("link uplink is a port of the bridge br0", "name that one")
        }
        Unfit::Macvlan => {
            run("ip link set uplink name below");
            run("ip link add link below name uplink type macvlan mode bridge");
            ("link uplink is itself a macvlan", "name the link below it")
        }
        Unfit::Narrow => {
            run("ip link set uplink mtu 1400");
            ("link uplink carries packets of 1400 bytes, not of 1500", "widen the link")
        }
    };
    let before = links();
    let mut node = Node::new();
    let todo = plan(&standing_on("uplink"), &node.observe());
    let report = node.apply(&todo);
    let of_links: Vec<&Failure> =
        report.failures.iter().filter(|failure| failure.step.to_string().contains("type macvlan")).collect();
    assert_eq!(of_links.len(), 3, "`public` and two gateways: {of_links:#?}");
    for failure in of_links {
        assert!(chain(failure).ends_with(said), "{unfit:?}: {}", chain(failure));
        assert!(failure.hint().unwrap_or_default().contains(hint), "{unfit:?}: {:?}", failure.hint());
    }
    assert_eq!(links(), before, "{unfit:?}");
    let made = node.observe();
    assert!(made.namespaces.values().all(|namespace| !namespace.links.contains_key(&link("public"))));
    node.converge(&nothing());
}

#[test]
fn a_link_that_cannot_carry_a_node_is_named_with_what_it_is_and_what_to_do() {
    for unfit in [Unfit::NotThere, Unfit::PortOfABridge, Unfit::Macvlan, Unfit::Narrow] {
        alone(move || a_link_that_is(unfit));
    }
}
