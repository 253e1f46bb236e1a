//! Devices of the real tunnel process: given keys and peers, changed, lost and found again.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod ground;

use ground::{Node, Process, TestKeys, alone, be_the_process, link, netns, run};
use sixfold_core::key::PublicKey;
use sixfold_core::plan::{Op, plan};
use sixfold_core::state::{
    Device, Endpoint, Firewall, Link, LinkKind, Netns, NodeState, Peer, PeerKey, SysctlName,
};
use sixfold_kernel::{ApplyError, Kernel as _, Scope};

#[test]
fn tunnel_process() {
    if be_the_process() {
        return;
    }
    alone(|| {
        let _process = Process::start();
        assert_eq!(run("wg show interfaces").trim(), "");
    });
}

fn place(index: &str) -> (Netns, sixfold_core::name::IfName) {
    (netns(&format!("net-{index}-1")), link(&format!("wg-{index}-1")))
}

/// A resource with a device of that key, whose socket is in `public`.
fn add_resource(state: &mut NodeState, index: &str, (key, port): (u8, u16)) {
    let (home, name) = place(index);
    let at = state.at(home);
    let quiet = ("net/ipv6/conf/default/addr_gen_mode", "1");
    at.sysctls.insert(SysctlName(quiet.0.into()), quiet.1.into());
    at.links.insert(link("lo"), Link { kind: LinkKind::Loopback, up: true, mtu: None, mac: None });
    let kind = LinkKind::Tun { socket: Some(netns("public")) };
    at.links.insert(name, Link { kind, up: true, mtu: Some(1420), mac: None });
    at.devices.insert(name, Device { public_key: TestKeys::public(key), listen_port: port, fwmark: 0 });
}

fn add_peer(state: &mut NodeState, index: &str, key: PublicKey, allowed_ips: &[&str]) {
    let (home, name) = place(index);
    let peer = Peer {
        endpoint: Endpoint::At("192.0.2.1:51820".parse().unwrap()),
        allowed_ips: allowed_ips.iter().map(|prefix| prefix.parse().unwrap()).collect(),
        accepted_ips: Default::default(),
        keepalive_secs: 20,
        preshared: false,
    };
    state.at(home).peers.insert(PeerKey { link: name, public_key: key }, peer);
}

fn node_with(resources: &[(&str, (u8, u16))]) -> NodeState {
    let mut state = NodeState::default();
    state.at(Netns::Host);
    let public = state.at(netns("public"));
    public.firewall = Some(Firewall::default());
    public.links.insert(link("lo"), Link { kind: LinkKind::Loopback, up: true, mtu: None, mac: None });
    for (index, device) in resources {
        add_resource(&mut state, index, *device);
    }
    state
}

#[test]
fn devices_and_peers_converge_and_wg_shows_them() {
    alone(|| {
        let _process = Process::start();
        let mut node = Node::new();
        let mut desired = node_with(&[("1234", (1, 51820)), ("2345", (2, 51821))]);
        add_peer(&mut desired, "1234", TestKeys::public(2), &["2001:db8:2345::/64", "10.35.69.0/24"]);
        add_peer(&mut desired, "1234", TestKeys::public(3), &["::/0", "0.0.0.0/0"]);
        node.converge(&desired);
        let shown = run("wg show wg-1234-1 dump");
        let device: Vec<&str> = shown.lines().next().unwrap().split('\t').collect();
        assert_eq!((device[1], device[2]), (&*TestKeys::public(1).to_string(), "51820"));
        assert!(
            shown.contains(&format!("{}\t(none)\t192.0.2.1:51820\t", TestKeys::public(2))),
            "{}",
            shown.lines().count()
        );
        assert!(run("ip netns exec public ss -Hulpn").contains(":51821"));

        // One peer changes and another goes: nothing else is touched.
        desired.at(place("1234").0).peers.clear();
        add_peer(&mut desired, "1234", TestKeys::public(2), &["2001:db8:2345::/64"]);
        let todo = node.converge(&desired);
        assert_eq!(todo.len(), 2, "{todo}");

        // A preshared key that someone set would cut the pair: it goes.
        let file = format!("/run/psk-{}", std::process::id());
        std::fs::write(&file, run("wg genpsk")).unwrap();
        run(&format!("wg set wg-1234-1 peer {} preshared-key {file}", TestKeys::public(2)));
        std::fs::remove_file(&file).unwrap();
        let todo = node.converge(&desired);
        assert_eq!(todo.len(), 1, "{todo}");
        assert!(run("wg show wg-1234-1 preshared-keys").contains("(none)"));

        // Another port and another key, and the peer is kept.
        desired.at(place("1234").0).devices.insert(
            place("1234").1,
            Device { public_key: TestKeys::public(4), listen_port: 51999, fwmark: 0 },
        );
        let todo = node.converge(&desired);
        assert_eq!(todo.len(), 1, "{todo}");

        // Held by the tunnel process though it is down.
        run("ip -n net-1234-1 link set wg-1234-1 down");
        let todo = node.converge(&desired);
        assert!(matches!(&todo.steps[..], [step] if matches!(step.op, Op::SetUp { .. })), "{todo}");

        let mut nothing = NodeState::default();
        nothing.at(Netns::Host);
        node.converge(&nothing);
        assert_eq!(run("wg show interfaces").trim(), "");
    });
}

#[test]
fn a_device_whose_port_is_taken_gets_another_and_keeps_it() {
    alone(|| {
        let _process = Process::start();
        let mut node = Node::new();
        let desired = node_with(&[("1234", (1, 51820)), ("2345", (2, 51820))]);
        let todo = plan(&desired, &node.observe());
        node.succeed(&todo);
        let port = |state: &NodeState, index: &str| {
            state.namespaces[&place(index).0].devices[&place(index).1].listen_port
        };
        let first = node.observe();
        let other = port(&first, "2345");
        assert_eq!(port(&first, "1234"), 51820);
        assert!(other != 51820 && other != 0);
        node.succeed(&plan(&desired, &first));
        assert_eq!(port(&node.observe(), "2345"), other);
    });
}

#[test]
fn a_tunnel_process_that_was_killed_gets_everything_again() {
    alone(|| {
        let process = Process::start();
        let mut node = Node::new();
        let mut desired = node_with(&[("1234", (1, 51820))]);
        add_peer(&mut desired, "1234", TestKeys::public(2), &["::/0"]);
        node.converge(&desired);
        process.kill();
        let gone = node.observe();
        assert!(gone.namespaces[&place("1234").0].devices.is_empty());
        let report = node.apply(&plan(&desired, &gone));
        let error = &report.failures.first().expect("nobody to hand the device to").error;
        assert!(matches!(error, ApplyError::Tunnel(_)), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("sixfold tunnel run")));
        std::fs::remove_file("/run/sixfold/tunnel.sock").unwrap();
        let _process = Process::start();
        let todo = node.converge(&desired);
        assert_eq!(todo.len(), 2, "{todo}");
    });
}

#[test]
fn a_device_without_its_link_or_namespace_is_let_go_of() {
    alone(|| {
        let _process = Process::start();
        let mut node = Node::new();
        let desired = node_with(&[("1234", (1, 51820)), ("2345", (2, 51821))]);
        for damage in ["ip -n net-1234-1 link del wg-1234-1", "ip netns del net-1234-1"] {
            node.converge(&desired);
            run(damage);
            let todo = node.converge(&desired);
            let lets_go = todo
                .steps
                .iter()
                .any(|step| matches!(&step.op, Op::DelDevice { link } if *link == place("1234").1));
            assert!(lets_go, "{todo}");
        }
        run("ip netns del net-1234-1");
        let only_other = node_with(&[("2345", (2, 51821))]);
        node.converge(&only_other);
        assert_eq!(run("wg show interfaces").trim(), "wg-2345-1");
    });
}

#[test]
fn a_key_that_is_not_known_is_told_and_the_rest_goes_on() {
    alone(|| {
        let _process = Process::start();
        let mut node = Node::new();
        let mut desired = node_with(&[("1234", (1, 51820)), ("2345", (2, 51821))]);
        let unknown = Device { public_key: PublicKey::from_bytes([7; 32]), listen_port: 51820, fwmark: 0 };
        desired.at(place("1234").0).devices.insert(place("1234").1, unknown);
        let todo = plan(&desired, &node.observe());
        let report = node.apply(&todo);
        assert_eq!(report.failures.len(), 1);
        assert!(matches!(report.failures[0].error, ApplyError::NoKey { .. }));
        assert_eq!(run("wg show interfaces").trim(), "wg-2345-1");
    });
}

/// Nobody tells of a peer, so it is asked for: each change once, whoever made it, until it has been looked at.
#[test]
fn changed_peers_are_told_where_they_are_until_they_are_seen() {
    alone(|| {
        let process = Process::start();
        let mut node = Node::new();
        let mut desired = node_with(&[("1234", (1, 51820)), ("2345", (2, 51821))]);
        add_peer(&mut desired, "1234", TestKeys::public(2), &["2001:db8:2345::/64"]);
        node.converge(&desired);
        let [one, other] = ["1234", "2345"].map(|index| place(index).0);
        let both = [one.clone(), other.clone()].into();
        let seen = node.observe();
        assert!(node.0.differing_devices(&seen, &both).is_empty());
        run(&format!("wg set wg-1234-1 peer {} persistent-keepalive 9", TestKeys::public(2)));
        for _ in 0..2 {
            assert_eq!(node.0.differing_devices(&seen, &both), [one.clone()].into());
            assert!(
                node.0.differing_devices(&seen, &[other.clone()].into()).is_empty(),
                "only who is asked for"
            );
        }
        // A look elsewhere does not count as one here.
        node.0.observe(&Scope::Only([other.clone()].into())).unwrap();
        assert_eq!(node.0.differing_devices(&seen, &both), [one].into());
        node.converge(&desired);
        let seen = node.observe();
        assert!(node.0.differing_devices(&seen, &both).is_empty(), "our own repair has been seen");
        process.kill();
        assert_eq!(node.0.differing_devices(&seen, &both), both, "and when nobody answers, anything may be");
    });
}
