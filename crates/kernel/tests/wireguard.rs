//! The kernel's own WireGuard. Where this kernel has none, the test runs itself on Debian's stock kernel in a virtual
//! machine: one boot for the whole file.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod ground;

use std::collections::BTreeSet;
use std::process::Command;

use ground::{Node, TestKeys, alone, link, netns, run};
use sixfold_core::plan::{Op, plan};
use sixfold_core::state::{
    AddressKey, Backend, Device, Endpoint, Firewall, Link, LinkKind, METRIC, Netns, NodeState, Peer, PeerKey,
    RouteKey, RouteTarget, SysctlName,
};
use sixfold_kernel::Kernel as _;
use sixfold_kernel::linux::probe_wireguard;

const MODULES: &str = "wireguard,veth,macvlan,tun,nf_tables,br_netfilter";

#[test]
fn kernel_wireguard() {
    if probe_wireguard().unwrap() == Backend::Tunnel {
        let program = std::env::current_exe().unwrap();
        let mut machine = Command::new(env!("CARGO"));
        machine.args(["xtask", "vm", "--modules", MODULES, "--"]).arg(program);
        machine.args(["--exact", "kernel_wireguard", "--nocapture"]);
        let output = machine.output().expect("cargo runs");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "on the stock kernel (cargo xtask vm):\n{text}");
        assert!(text.contains("1 passed"), "the machine did not run the test:\n{text}");
        return;
    }
    alone(devices_converge_and_carry_packets);
    alone(one_change_touches_one_peer);
    alone(ports_that_are_taken);
    alone(a_peer_with_more_prefixes_than_fit_a_message);
    alone(a_device_whose_sockets_namespace_is_gone_is_made_anew);
}

/// A resource: index, key, port and the other's.
fn add_resource(state: &mut NodeState, index: &str, (key, port): (u8, u16)) {
    let name = link(&format!("wg-{index}-1"));
    let at = state.at(netns(&format!("net-{index}-1")));
    at.sysctls.insert(SysctlName("net/ipv6/conf/default/addr_gen_mode".into()), "1".into());
    at.links.insert(link("lo"), Link { kind: LinkKind::Loopback, up: true, mtu: None, mac: None });
    let kind = LinkKind::Wireguard { socket: Some(netns("public")) };
    at.links.insert(name, Link { kind, up: true, mtu: Some(1420), mac: None });
    let address = format!("2001:db8:{index}::1/128").parse().unwrap();
    at.addresses.insert(AddressKey::new(name, address), ());
    let key_ = RouteKey { destination: "2001:db8::/32".parse().unwrap(), metric: METRIC };
    at.routes.insert(key_, RouteTarget::Link(name));
    at.devices.insert(name, Device { public_key: TestKeys::public(key), listen_port: port, fwmark: 0 });
}

fn add_peer(state: &mut NodeState, index: &str, key: u8, peer: Peer) {
    let key = PeerKey { link: link(&format!("wg-{index}-1")), public_key: TestKeys::public(key) };
    state.at(netns(&format!("net-{index}-1"))).peers.insert(key, peer);
}

fn peer(endpoint: Endpoint, allowed_ips: &[&str]) -> Peer {
    let allowed_ips = allowed_ips.iter().map(|prefix| prefix.parse().unwrap()).collect();
    Peer { endpoint, allowed_ips, accepted_ips: Default::default(), keepalive_secs: 0, preshared: false }
}

fn at(address: &str) -> Endpoint {
    Endpoint::At(address.parse().unwrap())
}

/// Two resources that are each other's peers; one knows where the other is, the other learns it.
fn two() -> NodeState {
    let mut state = NodeState::default();
    state.at(Netns::Host);
    let public = state.at(netns("public"));
    public.firewall = Some(Firewall::default());
    public.links.insert(link("lo"), Link { kind: LinkKind::Loopback, up: true, mtu: None, mac: None });
    add_resource(&mut state, "1234", (1, 51820));
    add_resource(&mut state, "2345", (2, 51821));
    add_peer(&mut state, "1234", 2, peer(at("[::1]:51821"), &["2001:db8:2345::/64", "10.35.69.0/24"]));
    add_peer(&mut state, "2345", 1, peer(Endpoint::Unset, &["::/0", "0.0.0.0/0"]));
    state
}

fn device(node: &mut Node, index: &str) -> Device {
    node.observe().namespaces[&netns(&format!("net-{index}-1"))].devices[&link(&format!("wg-{index}-1"))]
        .clone()
}

fn devices_converge_and_carry_packets() {
    let mut node = Node::new();
    node.converge(&two());
    let shown = run("ip netns exec net-1234-1 wg show wg-1234-1 dump");
    assert!(shown.contains(&format!("\t{}\t51820\t", TestKeys::public(1))));
    assert!(shown.contains(&format!(
        "{}\t(none)\t[::1]:51821\t10.35.69.0/24,2001:db8:2345::/64\t",
        TestKeys::public(2)
    )));
    // The socket stayed behind, in the namespace where the device was made.
    assert!(run("ip netns exec public ss -Huln").contains(":51820"));
    assert!(!run("ip netns exec net-1234-1 ss -Huln").contains(":51820"));
    run("ip netns exec net-1234-1 ping -6 -c 2 -W 5 -I 2001:db8:1234::1 2001:db8:2345::1");
    let learned = &node.observe().namespaces[&netns("net-2345-1")].peers;
    let learned = learned.values().next().unwrap();
    assert_eq!(learned.endpoint, Endpoint::Live("[::1]:51820".parse().unwrap()));
    // A session lives, so nothing is to be done, wherever the peer is now.
    let rest = plan(&two(), &node.observe());
    assert!(rest.is_empty(), "{rest}");
    let mut nothing = NodeState::default();
    nothing.at(Netns::Host);
    node.converge(&nothing);
}

fn one_change_touches_one_peer() {
    let mut node = Node::new();
    let mut desired = two();
    add_peer(&mut desired, "1234", 3, peer(at("192.0.2.1:7"), &["2001:db8:3::/48"]));
    node.converge(&desired);
    run("ip netns exec net-1234-1 ping -6 -c 1 -W 5 -I 2001:db8:1234::1 2001:db8:2345::1");
    let handshake = || run("ip netns exec net-1234-1 wg show wg-1234-1 latest-handshakes");
    let before = handshake();
    // A prefix moves from one peer to the other, and back to nobody.
    add_peer(&mut desired, "1234", 3, peer(at("192.0.2.1:7"), &["2001:db8:3::/48", "10.35.69.0/24"]));
    add_peer(&mut desired, "1234", 2, peer(at("[::1]:51821"), &["2001:db8:2345::/64"]));
    assert_eq!(node.converge(&desired).len(), 2);
    let key = PeerKey { link: link("wg-1234-1"), public_key: TestKeys::public(3) };
    desired.at(netns("net-1234-1")).peers.remove(&key);
    let todo = node.converge(&desired);
    assert!(matches!(&todo.steps[..], [step] if step.op == Op::DelPeer(key)), "{todo}");
    assert!(
        before.starts_with(&*handshake()) || before.contains(handshake().trim()),
        "the session was touched"
    );
    let seen = node.observe();
    let asked = [netns("net-1234-1"), netns("net-2345-1")].into();
    assert!(node.0.differing_devices(&seen, &asked).is_empty());
    run("ip netns exec net-1234-1 ping -6 -c 1 -W 5 -I 2001:db8:1234::1 2001:db8:2345::1");
    assert!(node.0.differing_devices(&seen, &asked).is_empty(), "traffic makes no difference");
    run(&format!("ip netns exec net-1234-1 wg set wg-1234-1 peer {} remove", TestKeys::public(2)));
    assert_eq!(node.0.differing_devices(&seen, &asked), [netns("net-1234-1")].into());
    assert_eq!(node.converge(&desired).len(), 1);
    run("ip netns exec net-2345-1 wg set wg-2345-1 fwmark 7");
    assert_eq!(node.converge(&desired).len(), 1, "a mark is taken off");
    assert_eq!(run("ip netns exec net-2345-1 wg show wg-2345-1 fwmark").trim(), "off");
    desired
        .at(netns("net-1234-1"))
        .devices
        .values_mut()
        .for_each(|device| device.public_key = TestKeys::public(4));
    assert_eq!(node.converge(&desired).len(), 1);
}

fn ports_that_are_taken() {
    let mut node = Node::new();
    let mut desired = two();
    desired.at(netns("net-2345-1")).devices.values_mut().for_each(|device| device.listen_port = 51820);
    let todo = plan(&desired, &node.observe());
    node.succeed(&todo);
    assert_eq!(device(&mut node, "1234").listen_port, 51820);
    let got = device(&mut node, "2345").listen_port;
    assert!(got != 51820 && got != 0);
    // It keeps what it got while the other has the port.
    let todo = plan(&desired, &node.observe());
    node.succeed(&todo);
    assert_eq!(device(&mut node, "2345").listen_port, got);
    // Taken while the link is down: it comes up on another.
    let desired = two();
    node.converge(&desired);
    run("ip -n net-1234-1 link set wg-1234-1 down");
    run("ip netns exec net-2345-1 wg set wg-2345-1 listen-port 51820");
    let todo = plan(&two(), &node.observe());
    node.succeed(&todo);
    assert!(node.observe().namespaces[&netns("net-1234-1")].links[&link("wg-1234-1")].up);
}

fn a_peer_with_more_prefixes_than_fit_a_message() {
    let mut node = Node::new();
    let mut desired = two();
    let many: BTreeSet<_> = (0..2500).map(|n| format!("2001:db8:f:{n:x}::/64").parse().unwrap()).collect();
    let of_many = Peer {
        endpoint: at("192.0.2.9:9"),
        allowed_ips: many,
        accepted_ips: Default::default(),
        keepalive_secs: 20,
        preshared: false,
    };
    add_peer(&mut desired, "1234", 5, of_many);
    node.converge(&desired);
    let shown = run("ip netns exec net-1234-1 wg show wg-1234-1 allowed-ips");
    assert_eq!(shown.matches("/64").count(), 2501);
    let few = peer(at("192.0.2.9:9"), &["2001:db8:f::/64"]);
    add_peer(&mut desired, "1234", 5, few);
    assert_eq!(node.converge(&desired).len(), 1);
}

fn a_device_whose_sockets_namespace_is_gone_is_made_anew() {
    let mut node = Node::new();
    node.converge(&two());
    run("ip netns del public");
    let there = node.observe();
    let kind = &there.namespaces[&netns("net-1234-1")].links[&link("wg-1234-1")].kind;
    assert_eq!(*kind, LinkKind::Wireguard { socket: None });
    node.converge(&two());
    run("ip netns exec net-1234-1 ping -6 -c 1 -W 5 -I 2001:db8:1234::1 2001:db8:2345::1");
}
