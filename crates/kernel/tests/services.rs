//! A node's own services in `public`, with packets: what the farm file names is reached from outside and nothing beside it, the
//! node speaks from its own address all the same, and nothing is left of it. Needs root, ip and ping.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod ground;

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::Duration;

use ground::{Node, alone, netns, run};
use nix::sched::{CloneFlags, setns};
use sixfold_core::desire::{Own, desire};
use sixfold_core::name::rule;
use sixfold_core::plan::plan;
use sixfold_core::spec::parse_all;
use sixfold_core::state::{Backend, ChainName, Netns, NodeState};
use sixfold_core::trial::Trial;

const SERVICES: &str = "[[provision]]\nnode = \"ant\"\nservices = [
    { address = \"2001:db8:a::50\", protocol = \"tcp\", port = 9000 },
    { address = \"203.0.113.30\", protocol = \"tcp\", port = 9000 },
    { address = \"2001:db8:a::a1\", protocol = \"udp\", port = 53 },
    { address = \"203.0.113.11\", protocol = \"udp\", port = 53 },
]\n";

/// Sockets that are there and not named: each beside one that is.
const OTHERS: [&str; 5] = [
    "[2001:db8:a::50]:9001",
    "[2001:db8:a::a1]:9000",
    "203.0.113.30:9001",
    "203.0.113.11:9000",
    "[2001:db8:a::50]:22",
];

/// A node of the first farm on `uplink`, without tunnels, whose farmer says this too.
fn ant(provision: &str) -> NodeState {
    let farm = include_str!("../../../examples/first-farm/farm.toml");
    let farm = farm.replacen("name = \"ant\"\n", "name = \"ant\"\nnic = \"uplink\"\n", 1) + "\n" + provision;
    let files = [
        ("farm.toml", farm.as_str()),
        ("acme.toml", include_str!("../../../examples/first-farm/acme.toml")),
        ("globex.toml", include_str!("../../../examples/first-farm/globex.toml")),
    ];
    let world = parse_all(&files.map(|(name, text)| (name.to_owned(), text.to_owned()))).unwrap();
    let snapshot = Trial::new(world).unwrap().snapshot(&"ant".parse().unwrap()).unwrap();
    desire(&snapshot, &Own::of(Backend::Tunnel))
}

/// The router beyond the node's link, which has an address on the Internet.
fn far() {
    run("ip netns add far");
    run("ip link add uplink type veth peer name there netns far");
    run("ip link set uplink up");
    for address in ["fe80::1/64", "2001:db8:a::1/64"] {
        run(&format!("ip -n far addr add {address} dev there nodad"));
    }
    run("ip -n far addr add 203.0.113.1/24 dev there");
    run("ip -n far link set there up");
    run("ip -n far link set lo up");
}

/// Whatever makes a socket, on a thread in a namespace: the socket stays there.
fn within<T: Send + 'static>(netns: &str, make: impl FnOnce() -> T + Send + 'static) -> T {
    let file = File::open(format!("/run/netns/{netns}")).unwrap();
    let made = thread::spawn(move || {
        setns(file, CloneFlags::CLONE_NEWNET).unwrap();
        make()
    });
    made.join().unwrap()
}

fn listen(at: &str) -> TcpListener {
    let at: SocketAddr = at.parse().unwrap();
    within("public", move || TcpListener::bind(at)).unwrap()
}

/// Whether a connection from outside is taken.
fn reached(at: &str) -> bool {
    let at: SocketAddr = at.parse().unwrap();
    within("far", move || TcpStream::connect_timeout(&at, Duration::from_millis(400))).is_ok()
}

/// Whether a datagram from outside is answered.
fn answered(server: &UdpSocket) -> bool {
    let to = server.local_addr().unwrap();
    let any = if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let client = within("far", move || UdpSocket::bind(any)).unwrap();
    for socket in [&client, server] {
        socket.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
    }
    client.send_to(b"?", to).unwrap();
    let mut buffer = [0; 9];
    let Ok((_, from)) = server.recv_from(&mut buffer) else { return false };
    // What the firewall stops is an error to who sends it.
    server.send_to(b"!", from).is_ok() && client.recv_from(&mut buffer).is_ok_and(|(_, from)| from == to)
}

fn pings(address: &str) -> bool {
    let mut ping = Command::new("ip");
    ping.args(["netns", "exec", "far", "ping", "-n", "-c", "1", "-W", "1", address]);
    ping.output().unwrap().status.success()
}

/// The address by which `public` speaks to another when nobody says by which.
fn speaks_to(address: &str) -> String {
    let route = run(&format!("ip -n public route get {address}"));
    let mut words = route.split_whitespace().skip_while(|word| *word != "src");
    words.nth(1).unwrap_or_else(|| panic!("{route}")).to_owned()
}

/// The same without some rules of `public`.
fn without(rules: &[(&'static str, &str)]) -> NodeState {
    let mut state = ant(SERVICES);
    let table = state.at(netns("public")).firewall.as_mut().unwrap();
    for (chain, comment) in rules {
        let rules = &mut table.chains.get_mut(&ChainName((*chain).into())).unwrap().rules;
        let before = rules.len();
        rules.retain(|rule| rule.comment != *comment);
        assert_eq!(rules.len(), before - 1, "{comment}");
    }
    state
}

fn nothing() -> NodeState {
    let mut nothing = NodeState::default();
    nothing.at(Netns::Host);
    nothing
}

#[test]
fn what_the_farm_file_names_is_reached_and_nothing_beside_it() {
    alone(|| {
        far();
        let mut node = Node::new();
        node.converge(&ant(SERVICES));
        let _named = ["[2001:db8:a::50]:9000", "203.0.113.30:9000"].map(listen);
        let _others = OTHERS.map(listen);
        let bind = |at: &'static str| within("public", move || UdpSocket::bind(at)).unwrap();
        let (named, others) = (
            ["[2001:db8:a::a1]:53", "203.0.113.11:53"].map(bind),
            ["[2001:db8:a::50]:53", "203.0.113.11:54"].map(bind),
        );
        let as_told = || {
            assert!(reached("[2001:db8:a::50]:9000") && reached("203.0.113.30:9000"));
            assert!(named.iter().all(answered));
            for at in OTHERS {
                assert!(!reached(at), "{at} is not named");
            }
            assert!(!others.iter().any(answered));
        };
        as_told();
        assert!(pings("2001:db8:a::50") && pings("203.0.113.30"), "who looks for a fault finds it");
        // What is bound to them is nobody's drift.
        assert!(plan(&ant(SERVICES), &node.observe()).is_empty());
        // Rules that are taken away are missed.
        node.converge(&without(&[("input", "services of the node itself")]));
        assert!(!reached("[2001:db8:a::50]:9000") && reached("203.0.113.30:9000"));
        node.converge(&without(&[("output", "services answer over udp")]));
        assert!(!named.iter().any(answered));
        node.converge(&without(&[("input", rule::CLOSED), ("output", rule::CLOSED)]));
        for at in OTHERS {
            assert!(reached(at), "{at} is there");
        }
        node.converge(&ant(SERVICES));
        as_told();
    });
}

#[test]
fn a_service_s_address_is_nobody_else_s_source_and_nothing_is_left_of_it() {
    alone(|| {
        far();
        let mut node = Node::new();
        node.converge(&ant(SERVICES));
        let sources = || ["2001:db8:a::51", "2001:db8:ff::9", "203.0.113.31", "198.51.100.9"].map(speaks_to);
        let own = ["2001:db8:a::a1", "2001:db8:a::a1", "203.0.113.11", "203.0.113.11"];
        assert_eq!(sources(), own, "tunnels call from the node's own");
        // As an address that it may speak from it would be taken by whoever is near.
        run("ip -n public addr change 2001:db8:a::50/128 dev public preferred_lft forever valid_lft forever");
        assert_eq!(sources()[0], "2001:db8:a::50");
        let mended = node.converge(&ant(SERVICES)).to_string();
        assert!(mended.contains("addr add 2001:db8:a::50/128 dev public nodad preferred_lft 0"), "{mended}");
        assert_eq!(sources(), own);
        let held = ["[2001:db8:a::50]:9000", "203.0.113.30:9000"].map(listen);
        // The farmer takes them back: the sockets are the farmer's, and reached by nobody.
        node.converge(&ant(""));
        let left = run("ip -n public addr show dev public");
        assert!(!left.contains("2001:db8:a::50") && !left.contains("203.0.113.30"), "{left}");
        assert!(!reached("[2001:db8:a::50]:9000") && !reached("203.0.113.30:9000"));
        assert!(pings("2001:db8:a::a1") && pings("203.0.113.11"));
        // A socket that somebody holds keeps what was `public`: nothing of ours is in it, and it is in nobody's way.
        let links = |file: &File| {
            let file = file.try_clone().unwrap();
            thread::spawn(move || {
                setns(file, CloneFlags::CLONE_NEWNET).unwrap();
                run("ip -br link")
            })
            .join()
            .unwrap()
        };
        let public = File::open("/run/netns/public").unwrap();
        assert_eq!(links(&public).lines().count(), 2);
        node.converge(&nothing());
        assert_eq!(links(&public).lines().count(), 1, "the loopback alone is left");
        assert!(!run("ip netns list").contains("public"));
        assert!(!pings("2001:db8:a::a1") && !pings("203.0.113.11"));
        node.converge(&ant(SERVICES));
        let again = listen("[2001:db8:a::50]:9000");
        assert!(reached("[2001:db8:a::50]:9000"));
        drop((held, again));
        node.converge(&nothing());
    });
}
