//! What observing costs: in proportion to what is there, and the same for each namespace however many there are.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod ground;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ground::{Node, Process, TestKeys, alone, be_the_process, link, netns};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sixfold_core::plan::plan;
use sixfold_core::state::{
    AddressKey, Device, Link, LinkEnd, LinkKind, METRIC, METRIC_UNDERNEATH, Netns, NodeState, RouteKey,
    RouteTarget, SysctlName,
};
use sixfold_kernel::{Kernel as _, Scope};

const GATEWAY: &str = "gw-1-1";

fn loopback() -> Link {
    Link { kind: LinkKind::Loopback, up: true, mtu: None, mac: None }
}

fn veth(at: &str, name: &str) -> Link {
    let peer = LinkEnd { netns: netns(at), link: link(name) };
    Link { kind: LinkKind::Veth { peer }, up: true, mtu: Some(1400), mac: None }
}

/// No address of the kernel's own making.
fn quiet() -> (SysctlName, String) {
    (SysctlName("net/ipv6/conf/default/addr_gen_mode".into()), "1".into())
}

/// A gateway and that many resources on it.
fn farm(resources: u16) -> NodeState {
    let mut state = nothing();
    state.at(netns(GATEWAY)).links.insert(link("lo"), loopback());
    state.at(netns(GATEWAY)).sysctls.extend([quiet()]);
    for index in 0x1000..0x1000 + resources {
        let (name, home) = (format!("pub-{index:04x}-1"), format!("net-{index:04x}-1"));
        let other = format!("to-{index:04x}-1");
        state.at(netns(GATEWAY)).links.insert(link(&other), veth(&home, &name));
        let at = state.at(netns(&home));
        at.sysctls.extend([quiet()]);
        at.links.insert(link("lo"), loopback());
        at.links.insert(link(&name), veth(GATEWAY, &other));
        let tun = LinkKind::Tun { socket: Some(Netns::Host) };
        at.links.insert(
            link(&format!("wg-{index:04x}-1")),
            Link { kind: tun, up: true, mtu: Some(1340), mac: None },
        );
        for n in 1..8 {
            at.addresses.insert(AddressKey::new(link(&name), format!("fe80::{n}/64").parse().unwrap()), ());
        }
        for n in 0..16 {
            let key = |text: String, metric| RouteKey { destination: text.parse().unwrap(), metric };
            at.routes
                .insert(key(format!("2001:db8:{n:x}::/48"), METRIC_UNDERNEATH), RouteTarget::Unreachable);
            at.routes.insert(key(format!("10.{n}.0.0/16"), METRIC), RouteTarget::Link(link(&name)));
        }
    }
    state
}

/// Time of a second observation, when every door is open.
fn observing(node: &mut Node) -> Duration {
    node.observe();
    let started = Instant::now();
    node.observe();
    started.elapsed()
}

#[test]
#[ignore = "takes long: a thousand namespaces are made"]
fn what_a_thousand_namespaces_cost_is_told_and_they_converge() {
    alone(|| {
        let mut node = Node::new();
        let mut each = Vec::new();
        for resources in [16, 256, 1024] {
            let desired = farm(resources);
            let todo = plan(&desired, &node.observe());
            let started = Instant::now();
            node.succeed(&todo);
            let applied = started.elapsed();
            let observed = observing(&mut node);
            assert!(plan(&desired, &node.observe()).is_empty());
            println!("{resources} resources: {} steps in {applied:?}; observed in {observed:?}", todo.len());
            each.push(observed / u32::from(resources));
        }
        println!("observed in {each:?} for each namespace");
        let started = Instant::now();
        node.converge(&nothing());
        println!("removed in {:?}", started.elapsed());
    });
}

/// That many namespaces with nothing in them.
fn empty(namespaces: u16) -> NodeState {
    let mut state = nothing();
    for index in 0x1000..0x1000 + namespaces {
        let at = state.at(netns(&format!("net-{index:04x}-1")));
        at.links.insert(link("lo"), loopback());
        at.sysctls.extend([quiet()]);
    }
    state
}

/// A node on which nothing of ours is.
fn nothing() -> NodeState {
    let mut state = NodeState::default();
    state.at(Netns::Host);
    state
}

/// The sockets that this process has open.
fn sockets() -> BTreeSet<PathBuf> {
    let open =
        fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    open.filter(|target| target.to_string_lossy().starts_with("socket:")).collect()
}

const DESCRIPTORS: u64 = 512;

/// Of what a program has only one of: its descriptors, that tests count.
static OWN: Mutex<()> = Mutex::new(());

/// Leaves this program few descriptors, as long as the value lives for this test alone.
fn few_descriptors() -> MutexGuard<'static, ()> {
    let alone = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS, hard).unwrap();
    alone
}

#[test]
fn tunnel_process() {
    be_the_process();
}

/// The kernel has what is opened under one name of one procfs in one list, which each opening walks: it is to be short.
#[test]
fn the_sysctls_of_many_namespaces_are_opened_in_many_procfs() {
    const NAMESPACES: u16 = 150;
    alone(|| {
        let _alone = OWN.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
        let mut node = Node::new();
        node.converge(&empty(NAMESPACES));
        let mut together: BTreeMap<u64, usize> = BTreeMap::new();
        for entry in fs::read_dir("/proc/self/fd").unwrap().flatten() {
            if fs::read_link(entry.path()).is_ok_and(|target| target.ends_with("sys/net/ipv6")) {
                *together.entry(fs::metadata(entry.path()).unwrap().dev()).or_default() += 1;
            }
        }
        assert!(together.values().sum::<usize>() >= usize::from(NAMESPACES), "{together:?}");
        assert!(together.values().all(|count| *count <= 64), "{together:?}");
        node.converge(&nothing());
    });
}

/// A change of one device leads to a look at the host's namespace, where those without a link show.
#[test]
fn a_look_at_the_host_opens_no_namespace_whose_devices_have_their_links() {
    const NAMESPACES: u16 = 60;
    alone(|| {
        let (_few, _tunnel) = (few_descriptors(), Process::start());
        let mut desired = empty(NAMESPACES);
        for index in 0x1000..0x1000 + NAMESPACES {
            let (home, name) = (format!("net-{index:04x}-1"), link(&format!("wg-{index:04x}-1")));
            let at = desired.at(netns(&home));
            let kind = LinkKind::Tun { socket: Some(Netns::Host) };
            at.links.insert(name, Link { kind, up: true, mtu: Some(1340), mac: None });
            let public_key = TestKeys::public(u8::try_from(index % 9 + 1).unwrap());
            at.devices.insert(name, Device { public_key, listen_port: index, fwmark: 0 });
        }
        let mut node = Node::new();
        node.converge(&desired);
        assert!(plan(&desired, &node.observe()).is_empty());
        let before = sockets();
        let host = node.0.observe(&Scope::Only([Netns::Host].into())).unwrap();
        assert!(host.namespaces.values().all(|there| there.devices.is_empty()), "{host:?}");
        assert_eq!(sockets(), before);
        // One without its link is told of as soon as its namespace was looked at.
        ground::run("ip -n net-1001-1 link del wg-1001-1");
        let places = Scope::Only([Netns::Host, netns("net-1001-1")].into());
        let host = node.0.observe(&places).unwrap();
        let shown: Vec<_> = host.namespaces[&Netns::Host].devices.keys().map(ToString::to_string).collect();
        assert_eq!(shown, ["wg-1001-1"]);
        node.converge(&nothing());
    });
}

/// A round over all would find none if what was used last were kept; and each costs a walk past all that are there.
#[test]
fn with_more_namespaces_than_descriptors_most_stay_open_between_two_rounds() {
    const NAMESPACES: u16 = 90;
    alone(|| {
        let _few = few_descriptors();
        let desired = empty(NAMESPACES);
        let mut node = Node::new();
        node.converge(&desired);
        node.observe();
        let before = sockets();
        assert!(plan(&desired, &node.observe()).is_empty());
        let after = sockets();
        let kept = before.intersection(&after).count();
        assert!(kept >= 35, "{kept} of {} sockets are still open", before.len());
        assert!(after.len() < usize::try_from(DESCRIPTORS).unwrap() * 3 / 4, "{} are open", after.len());
        node.converge(&nothing());
    });
}
