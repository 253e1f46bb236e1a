//! What a lab stands on: asks the kernel for one of each thing it will need, and says what is missing and the cure.
//!
//! Owns: the list of needs. Must run inside the walls, before the world is made; leaves nothing behind.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use nix::errno::Errno;
use sixfold_core::mac::Mac;
use sixfold_core::name::{IfName, NetnsName};
use sixfold_core::plan::{Op, plan};
use sixfold_core::state::{
    Action, Chain, ChainName, Firewall, Hook, HookPoint, Link, LinkEnd, LinkKind, Match, Namespace, Netns,
    NodeState, Protocol, Rule, SysctlName,
};
use sixfold_kernel::linux::{Config, Linux};
use sixfold_kernel::netns::{Directory, NetnsError, Worker};
use sixfold_kernel::{ApplyError, Kernel as _, sys};

use crate::world::bridge;
use crate::world::build::NoKeys;

/// Something that is needed and not there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lack {
    /// What.
    pub what: &'static str,
    /// The system's reason.
    pub reason: String,
    /// What to do about it.
    pub cure: &'static str,
}

/// Asks for one of each thing a lab needs. Empty: all is there.
///
/// # Errors
/// If not even namespaces can be made and entered.
pub fn probe() -> Result<Vec<Lack>, NetnsError> {
    let mut kernel = Linux::new(Config::default())?;
    let wanted = wanted();
    let report = kernel.apply(&plan(&wanted, &NodeState::default()), &NoKeys);
    let mut lacks: Vec<Lack> = Vec::new();
    for failure in &report.failures {
        if let Some(lack) = lack(&failure.step.op, &failure.error) {
            lacks.push(lack);
        }
    }
    let worker = Worker::start()?;
    let entrance = Directory::new(Config::default().netns_dir)?.open(&near())?;
    lacks.extend(worker.within(&entrance, alone)?);
    kernel.apply(&plan(&NodeState::default(), &wanted), &NoKeys);
    lacks.sort();
    lacks.dedup_by_key(|lack| lack.what);
    Ok(lacks)
}

/// What plans do not make, tried in a namespace of its own.
fn alone() -> Vec<Lack> {
    let mut lacks = Vec::new();
    let link = |name: &str| IfName::try_from(name).expect("written here, short and plain");
    if let Err(error) = bridge::make(link("ground"), Mac([2, 0, 0, 0, 0, 1]), 1500) {
        let reason = format!("{:?}", error.errno().unwrap_or(Errno::UnknownErrno));
        lacks.push(Lack { what: "bridges", reason, cure: "load the module: modprobe bridge" });
    }
    if let Err(errno) = sys::open_tun(&link("ground-tun")) {
        let cure = match errno {
            Errno::EACCES | Errno::EPERM => "run as root, or open it to all: chmod 0666 /dev/net/tun",
            _ => "load the module: modprobe tun; in a container, pass it in: --device /dev/net/tun",
        };
        lacks.push(Lack { what: "/dev/net/tun", reason: format!("{errno:?}"), cure });
    }
    lacks
}

fn lack(op: &Op, error: &ApplyError) -> Option<Lack> {
    let (what, cure) = match op {
        Op::AddNetns => ("network namespaces", "run as root; in a container, with --privileged"),
        Op::SetSysctl { .. } => {
            ("/proc/sys/net", "it is mounted read-only: run outside the container, or with --privileged")
        }
        Op::AddLink { link: Link { kind: LinkKind::Veth { .. }, .. }, .. } => {
            ("veth links", "load the module: modprobe veth")
        }
        Op::AddLink { link: Link { kind: LinkKind::Macvlan { .. }, .. }, .. } => {
            ("macvlan links", "load the module: modprobe macvlan")
        }
        Op::AddTable | Op::SetChain { .. } => {
            ("nftables", "load the modules: modprobe -a nf_tables nft_chain_nat nft_ct nft_fib_inet")
        }
        // Whatever else failed did so because one of these did.
        _ => return None,
    };
    if matches!(error, ApplyError::FirewallOther) {
        return None;
    }
    Some(Lack { what, reason: error.to_string(), cure })
}

fn near() -> NetnsName {
    NetnsName::try_from("ground-near").expect("written here, short and plain")
}

/// One of each: a cable from the lab's own namespace, a macvlan on it, a sysctl, and a table that translates.
fn wanted() -> NodeState {
    let name = |name: &str| IfName::try_from(name).expect("written here, short and plain");
    let far = Netns::Named(NetnsName::try_from("ground-far").expect("written here, short and plain"));
    let near = Netns::Named(near());
    let end = |netns: &Netns, link| LinkEnd { netns: netns.clone(), link };
    let link = |kind| Link { kind, up: true, mtu: Some(1500), mac: None };
    let mut state = NodeState::default();
    state
        .at(Netns::Host)
        .links
        .insert(name("ground0"), link(LinkKind::Veth { peer: end(&near, name("eth0")) }));
    let mut one = Namespace::fresh();
    one.links.insert(name("eth0"), link(LinkKind::Veth { peer: end(&Netns::Host, name("ground0")) }));
    one.sysctls.insert(SysctlName("net/ipv6/conf/all/forwarding".to_owned()), "1".to_owned());
    one.firewall = Some(table());
    let mut other = Namespace::fresh();
    other.links.insert(name("ground1"), link(LinkKind::Macvlan { parent: name("ground0") }));
    state.namespaces.insert(near, one);
    state.namespaces.insert(far, other);
    state
}

fn table() -> Firewall {
    let matches = vec![
        Match::Source(Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8).into()),
        Match::Protocol(Protocol::Udp),
    ];
    let action = Action::Snat { address: Ipv4Addr::new(192, 0, 2, 1), ports: (1024, 65_535) };
    let nat = Rule { matches, action, comment: "nat".to_owned() };
    let source =
        Rule { matches: vec![Match::SourceNotHere], action: Action::Drop, comment: "source".to_owned() };
    let chain =
        |point, priority, nat, rule| Chain { hook: Hook { point, priority, nat }, rules: vec![rule].into() };
    let chains = [
        (ChainName("nat".into()), chain(HookPoint::Postrouting, 100, true, nat)),
        (ChainName("source".into()), chain(HookPoint::Prerouting, -300, false, source)),
    ];
    Firewall { chains: chains.into(), ..Firewall::default() }
}
