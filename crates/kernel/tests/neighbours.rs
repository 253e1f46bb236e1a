//! A gateway with more neighbours than the kernel's table holds for the whole machine: all of them are permanent, which do
//! not count, so that every exit point is reached and the upstream is still found. And a segment on which our addresses were
//! somebody else's a moment ago. Needs root and iproute2.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]
#![allow(clippy::print_stdout, reason = "what was measured is said, as it depends on the machine")]

mod ground;

use std::fs::{self, File};
use std::net::UdpSocket;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ground::gateway::ant;
use ground::{Node, alone, ip, link, netns, run};
use nix::sched::{CloneFlags, setns};
use serde_json::Value;
use sixfold_core::mac::Mac;
use sixfold_core::plan::plan;
use sixfold_core::state::{
    AddressKey, Link, LinkEnd, LinkKind, METRIC, NeighbourKey, Netns, Nexthop, NexthopId, NodeState,
    RouteKey, RouteTarget, SysctlName,
};

const GATEWAY: &str = "gw-1-1";
/// All exit points' ends: what is behind them is not what is tested.
const EXITS: &str = "net-1000-1";
const UPSTREAM: &str = "net-2000-1";
/// No name of ours.
const ROUTER: &str = "router";

/// A slot in which every resource is an exit point: the most neighbours that a gateway can have.
const NEIGHBOURS: u16 = 4096;
const FIRST: u16 = 0x1000;

fn veth(at: &str, name: &str, mac: Mac) -> Link {
    let peer = LinkEnd { netns: netns(at), link: link(name) };
    Link { kind: LinkKind::Veth { peer }, up: true, mtu: Some(1500), mac: Some(mac) }
}

fn cable(state: &mut NodeState, ends: [(&str, &str, Mac); 2]) {
    let [one, other] = ends;
    for ((at, name, mac), (far, far_name, _)) in [(one, other), (other, one)] {
        state.at(netns(at)).links.insert(link(name), veth(far, far_name, mac));
    }
}

/// As `desire` has it: a link, a permanent neighbour, a nexthop and three routes for each exit point.
fn gateway() -> NodeState {
    let mut state = NodeState::default();
    state.at(Netns::Host);
    for name in [GATEWAY, EXITS, UPSTREAM] {
        let at = state.at(netns(name));
        at.links.insert(link("lo"), Link { kind: LinkKind::Loopback, up: true, mtu: None, mac: None });
        for (name, value) in [("accept_dad", "0"), ("addr_gen_mode", "1")] {
            at.sysctls.insert(SysctlName(format!("net/ipv6/conf/default/{name}")), value.into());
        }
    }
    for index in FIRST..FIRST + NEIGHBOURS {
        let [high, low] = index.to_be_bytes();
        let mac = |end| Mac([0x02, 0x6f, high, low, 0, end]);
        let (to, there) = (format!("to-{index:04x}-1"), format!("pub-{index:04x}-1"));
        cable(&mut state, [(GATEWAY, &to, mac(1)), (EXITS, &there, mac(2))]);
        let at = state.at(netns(GATEWAY));
        let hop = format!("fe80::{index:x}:1").parse().unwrap();
        at.addresses.insert(AddressKey::new(link(&to), format!("fe80::1:{index:x}/64").parse().unwrap()), ());
        at.neighbours.insert(NeighbourKey { link: link(&to), address: hop }, mac(2));
        let id = NexthopId(u32::from(index));
        let std::net::IpAddr::V6(gateway) = hop else { unreachable!() };
        at.nexthops.insert(id, Nexthop { gateway, link: link(&to) });
        let prefixes = [
            format!("2001:db8:a:{index:x}::/64"),
            format!("10.{high}.{low}.0/24"),
            format!("10.255.{high}.{low}/32"),
        ];
        for prefix in prefixes {
            let key = RouteKey { destination: prefix.parse().unwrap(), metric: METRIC };
            at.routes.insert(key, RouteTarget::Nexthop(id));
        }
    }
    let mac = |end| Mac([0x02, 0x6f, 0, 1, 1, end]);
    cable(&mut state, [(GATEWAY, "pub-1-1", mac(1)), (UPSTREAM, "segment", mac(2))]);
    for (at, name, address) in
        [(GATEWAY, "pub-1-1", "2001:db8:5::1/64"), (UPSTREAM, "segment", "2001:db8:5::2/64")]
    {
        state.at(netns(at)).addresses.insert(AddressKey::new(link(name), address.parse().unwrap()), ());
    }
    state
}

/// Packets that came in by each exit point's end.
fn received(of: &str) -> u64 {
    let listed = ip(&format!("-n {EXITS} -s link show dev {of}"));
    listed[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
}

/// Sends a datagram into each of these prefixes, from the gateway.
fn send_into(indices: &[u16]) {
    let indices = indices.to_vec();
    let sent = thread::spawn(move || {
        setns(File::open(format!("/run/netns/{GATEWAY}")).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
        let socket = UdpSocket::bind("[2001:db8:5::1]:0").unwrap();
        for index in indices {
            socket.send_to(b"probe", format!("[2001:db8:a:{index:x}::5]:9")).unwrap();
        }
    });
    sent.join().unwrap();
}

/// What the kernel's log says of tables that overflow, where it may be read.
fn overflows() -> Option<usize> {
    let output = Command::new("dmesg").output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.lines().filter(|line| line.contains("table overflow")).count())
}

/// In one plan, and then nothing is left to do; told in few words if not.
fn converge(node: &mut Node, desired: &NodeState) {
    let todo = plan(desired, &node.observe());
    assert!(!todo.is_empty());
    let failures = node.apply(&todo).failures;
    assert!(failures.is_empty(), "{} of {}: {:?}", failures.len(), todo.len(), &failures[0]);
    let rest = plan(desired, &node.observe());
    let first: Vec<String> = rest.steps.iter().take(5).map(ToString::to_string).collect();
    assert!(rest.is_empty(), "{} left to do: {first:#?}", rest.len());
}

#[test]
fn a_gateway_has_four_times_the_neighbours_that_the_kernel_holds_and_still_finds_its_upstream() {
    // Only the machine's own namespace has it, and it is for all of them.
    let most: u16 =
        fs::read_to_string("/proc/sys/net/ipv6/neigh/default/gc_thresh3").unwrap().trim().parse().unwrap();
    assert!(NEIGHBOURS > most, "the limit is {most} here: nothing would be shown");
    alone(move || {
        let before = overflows();
        let mut node = Node::new();
        let desired = gateway();
        let began = Instant::now();
        converge(&mut node, &desired);
        println!("{NEIGHBOURS} neighbours, of which {most} fit if they count, in {:.1?}", began.elapsed());
        let all = ip(&format!("-n {GATEWAY} -6 neighbour show"));
        let states = |state: &str| {
            let all = all.as_array().unwrap().iter();
            all.filter(|one| one["state"].as_array().unwrap().contains(&Value::from(state))).count()
        };
        assert_eq!(states("PERMANENT"), usize::from(NEIGHBOURS));

        let sample: Vec<u16> =
            (FIRST..FIRST + NEIGHBOURS).step_by(61).chain([FIRST + NEIGHBOURS - 1]).collect();
        let ends: Vec<String> = sample.iter().map(|index| format!("pub-{index:04x}-1")).collect();
        let were: Vec<u64> = ends.iter().map(|end| received(end)).collect();
        // Each at the first try: a link drops all until the kernel has looked at its carrier.
        send_into(&sample);
        let all = sample.iter().zip(&ends).zip(&were);
        let unheard: Vec<&String> =
            all.filter(|((_, end), was)| received(end) <= **was).map(|((_, end), _)| end).collect();
        assert!(unheard.is_empty(), "nothing arrived by {unheard:?}");

        // Never spoken to before: asked for, answered and learned, beside all the others.
        run(&format!("ip netns exec {GATEWAY} ping -c 1 -W 5 2001:db8:5::2"));
        let learned = ip(&format!("-n {GATEWAY} neighbour show 2001:db8:5::2"));
        assert_eq!(learned[0]["lladdr"], "02:6f:00:01:01:02", "{learned}");

        let mut nothing = NodeState::default();
        nothing.at(Netns::Host);
        let began = Instant::now();
        converge(&mut node, &nothing);
        println!("removed in {:.1?}", began.elapsed());
        match (before, overflows()) {
            (Some(before), Some(after)) => assert_eq!(before, after, "overflows in the kernel's log"),
            _ => println!("the kernel's log may not be read here: not told whether a table overflowed"),
        }
    });
}

#[test]
fn a_router_that_knew_our_addresses_by_other_macs_hears_of_ours_at_once() {
    const ADDRESSES: [(&str, &str); 5] = [
        ("203.0.113.11", "public"),
        ("2001:db8:a::a1", "public"),
        ("203.0.113.5", "pub-1-1"),
        ("2001:db8:a:0:1000::1", "pub-1-1"),
        ("fe80::1000:0:0:1", "pub-1-1"),
    ];
    alone(|| {
        run(&format!("ip netns add {ROUTER}"));
        run(&format!("ip link add eth0 up type veth peer name segment netns {ROUTER}"));
        for words in ["address add 203.0.113.1/24", "address add 2001:db8:a::1/64 nodad", "link set up"] {
            run(&format!("ip -n {ROUTER} {words} dev segment"));
        }
        // A link hears nobody until the kernel has looked at its carrier.
        let hears = || {
            !ip(&format!("-n {ROUTER} -6 route show table local type multicast"))
                .as_array()
                .unwrap()
                .is_empty()
        };
        wait_until(hears);
        // As if the entries were made long ago: the kernel does not believe two words within a second.
        run(&format!("ip netns exec {ROUTER} sysctl -qw net.ipv4.neigh.segment.locktime=0"));
        for (address, _) in ADDRESSES {
            let stale = "lladdr 02:00:00:00:00:99 nud reachable dev segment";
            run(&format!("ip -n {ROUTER} neighbour replace {address} {stale}"));
        }
        let mut node = Node::new();
        node.converge(&ant());
        wait_until(|| ADDRESSES.into_iter().all(|of| still_wrong(of).is_none()));
        let wrong: Vec<String> = ADDRESSES.into_iter().filter_map(still_wrong).collect();
        assert!(wrong.is_empty(), "the router still has {wrong:#?}");
    });
}

/// Or for three seconds: a tenth of what a router takes to find out by itself.
fn wait_until(holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() && began.elapsed() < Duration::from_secs(3) {
        thread::sleep(Duration::from_millis(20));
    }
}

/// The router's entry of one address, if its MAC is not that of the link that has it.
fn still_wrong((address, of): (&str, &str)) -> Option<String> {
    let at = if of == "public" { "public" } else { GATEWAY };
    let mac = ip(&format!("-n {at} link show dev {of}"))[0]["address"].clone();
    let known = ip(&format!("-n {ROUTER} neighbour show {address}"));
    (known[0]["lladdr"] != mac).then(|| format!("{known}, and not {mac}"))
}
