//! The ground of the nftables tests: a network namespace for each, nft as the oracle, and a table with everything once.

#![allow(dead_code, unreachable_pub)] // a module of several test files, each of which uses its part

pub mod row;

use std::io::Write as _;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use sixfold_core::plan::{Op, plan};
use sixfold_core::state::*;
use sixfold_kernel::nft::{self, NftSocket};

/// Runs `body` in a thread with a network namespace of its own, which goes with the thread.
///
/// # Panics
/// If it may not make one: these tests need root.
pub fn in_namespace<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("this test needs root, to make a network namespace");
        body()
    });
    match thread.join() {
        Ok(out) => out,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Runs a command in the calling thread's namespace and gives what it prints.
pub fn run(command: &str, args: &[&str], input: &str) -> String {
    let mut child = Command::new(command)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("this test needs {command}: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{command} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// `nft ARGS` with words split at blanks.
pub fn nft(args: &str) -> String {
    run("nft", &args.split(' ').collect::<Vec<_>>(), "")
}

/// `nft -f -`
pub fn load(text: &str) {
    run("nft", &["-f", "-"], text);
}

/// The operations from one table to another.
pub fn ops(desired: Option<&Firewall>, observed: Option<&Firewall>) -> Vec<Op> {
    let state = |firewall: Option<&Firewall>| {
        let mut state = NodeState::default();
        state.at(Netns::Host).firewall = firewall.cloned();
        state
    };
    plan(&state(desired), &state(observed)).steps.into_iter().map(|step| step.op).collect()
}

pub fn apply(socket: &mut NftSocket, ops: &[Op]) {
    nft::apply(socket, &ops.iter().collect::<Vec<_>>()).expect("the kernel takes it");
}

/// Makes the table be as desired, from whatever is there.
pub fn bring(socket: &mut NftSocket, desired: &Firewall) {
    let there = nft::observe(socket).unwrap();
    apply(socket, &ops(Some(desired), there.as_ref()));
}

pub fn set(name: &str) -> SetName {
    SetName(name.to_owned().into())
}

pub fn rule(matches: Vec<Match>, action: Action, comment: &str) -> Rule {
    Rule { matches, action, comment: comment.to_owned() }
}

pub fn chain(point: HookPoint, priority: i32, rules: Vec<Rule>) -> Chain {
    Chain { hook: Hook { point, priority, nat: false }, rules: rules.into() }
}

pub fn put(firewall: &mut Firewall, name: &str, chain: Chain) {
    firewall.chains.insert(ChainName(name.to_owned().into()), chain);
}

pub fn fill(firewall: &mut Firewall, name: &str, kind: SetKind, elements: Vec<Element>) {
    firewall.sets.insert(set(name), Set { kind });
    for element in elements {
        firewall.elements.insert(ElementKey { set: set(name), element }, ());
    }
}

pub fn prefixes(list: &[&str]) -> Vec<Element> {
    list.iter().map(|prefix| Element::Prefix(prefix.parse().unwrap())).collect()
}

/// One table with every match, action, hook and kind of set.
pub fn everything() -> Firewall {
    let mut all = Firewall::default();
    let v6 = ["2001:db8::/32", "2001:db9::/48", "2001:db9:1::/48", "ff00::/8", "fe80::1/128"];
    fill(&mut all, "members", SetKind::Prefixes, prefixes(&v6));
    let v4 = ["0.0.0.0/8", "192.0.2.0/25", "192.0.2.128/25", "203.0.113.7/32", "255.255.255.255/32"];
    fill(&mut all, "members_v4", SetKind::PrefixesV4, prefixes(&v4));
    fill(&mut all, "ports", SetKind::Ports, vec![Element::Port(53), Element::Port(51820)]);
    let host = "2001:db8::1".parse().unwrap();
    let services =
        vec![Element::Service(host, Protocol::Tcp, 443), Element::Service(host, Protocol::Udp, 53)];
    fill(&mut all, "services", SetKind::Services, services);
    let host = "192.0.2.1".parse().unwrap();
    fill(&mut all, "services_v4", SetKind::ServicesV4, vec![Element::ServiceV4(host, Protocol::Tcp, 80)]);
    let link = "to-1000-1".parse().unwrap();
    fill(&mut all, "counts", SetKind::LinkCounts, vec![Element::Link(link)]);
    fill(&mut all, "shares", SetKind::LinkShares { connections: 4096 }, vec![Element::LinkShare(link, 4096)]);
    let rates = SetKind::LinkRates { per_second: 100, burst: 50 };
    fill(&mut all, "rates", rates, vec![Element::Link(link), Element::OtherLinks]);
    let limit = ByteLimit { per_second: 12_500_000, burst: 65_600 };
    let largest = ByteLimit { per_second: 12_500_000_000, burst: 65_600 };
    let limits = [("to-1000-1", limit), ("to-1001-1", largest)];
    let limits = limits.map(|(link, limit)| Element::LinkBytes(link.parse().unwrap(), limit));
    fill(&mut all, "limits", SetKind::LinkBytes, limits.into());
    fill(&mut all, "drops", SetKind::LinkCounts, vec![Element::Link(link), Element::OtherLinks]);
    let ports = [("to-1000-1", (1024, 2047)), ("to-1001-1", (64_512, 65_535))];
    let ports = ports.map(|(link, ports)| Element::LinkPorts(link.parse().unwrap(), host, ports));
    fill(&mut all, "blocks", SetKind::LinkPorts, ports.into());
    let inside = "10.0.0.2".parse().unwrap();
    fill(&mut all, "addresses", SetKind::AddressesV4, vec![Element::AddressV4(host, inside)]);
    let forward = Element::ForwardV4(host, Protocol::Tcp, 443, (inside, 8443));
    fill(&mut all, "forwards", SetKind::ForwardsV4, vec![forward]);
    put(&mut all, "forward", chain(HookPoint::Forward, 0, every_match()));
    let notrack = vec![rule(vec![Match::DestinationPort(Protocol::Udp, 51820)], Action::Notrack, "no state")];
    put(&mut all, "raw", chain(HookPoint::Prerouting, -300, notrack));
    put(&mut all, "input", chain(HookPoint::Input, 0, vec![rule(vec![], Action::Drop, "closed")]));
    put(&mut all, "output", chain(HookPoint::Output, 0, vec![]));
    let snat = Action::Snat { address: "192.0.2.1".parse().unwrap(), ports: (20000, 29999) };
    let by_input = Action::SnatByInput(set("blocks"));
    let snat = vec![
        rule(vec![Match::Protocol(Protocol::Udp)], snat, "hide"),
        rule(vec![], Action::SnatBySource(set("addresses")), "hide some behind their own addresses"),
        rule(vec![Match::Protocol(Protocol::Tcp)], by_input, "hide each link in its own ports"),
    ];
    let mut nat = chain(HookPoint::Postrouting, 100, snat);
    nat.hook.nat = true;
    put(&mut all, "source", nat);
    let mut nat = chain(
        HookPoint::Prerouting,
        -100,
        vec![
            rule(vec![], Action::DnatByService(set("forwards")), "single ports"),
            rule(vec![], Action::DnatByDestination(set("addresses")), "whole addresses"),
        ],
    );
    nat.hook.nat = true;
    put(&mut all, "destination", nat);
    all
}

/// A rule for each match.
fn every_match() -> Vec<Rule> {
    let is = LinkPattern::Is("veth-1000-1".parse().unwrap());
    let net = |text: &str| text.parse().unwrap();
    let every = vec![
        Match::InputLink(is.clone()),
        Match::InputLink(LinkPattern::Begins("to-".to_owned())),
        Match::OutputLink(is),
        Match::OutputLink(LinkPattern::Begins("pub-".to_owned())),
        Match::Family(Family::Ipv6),
        Match::Family(Family::Ipv4),
        Match::Protocol(Protocol::Tcp),
        Match::Protocol(Protocol::Icmpv6),
        Match::Source(net("2001:db8::1/128")),
        Match::Source(net("2001:db8::/32")),
        Match::Source(net("2001:db8:8000::/33")),
        Match::Source(net("::/0")),
        Match::Destination(net("fe80::/10")),
        Match::Destination(net("192.0.2.7/32")),
        Match::Destination(net("192.0.2.0/24")),
        Match::Destination(net("192.0.2.128/25")),
        Match::Destination(net("0.0.0.0/0")),
        Match::SourceIn(set("members"), Family::Ipv6),
        Match::DestinationIn(set("members"), Family::Ipv6),
        Match::SourceIn(set("members_v4"), Family::Ipv4),
        Match::DestinationIn(set("members_v4"), Family::Ipv4),
        Match::IcmpType(8),
        Match::Icmpv6Type(135),
        Match::CtState(CT_ESTABLISHED_RELATED),
        Match::CtState(CT_INVALID),
        Match::DestinationRewritten,
        Match::SourceNotHere,
        Match::LeadsBack,
        Match::NoWay(Family::Ipv6),
        Match::NoWay(Family::Ipv4),
        Match::LastHop(Family::Ipv6),
        Match::LastHop(Family::Ipv4),
        Match::DestinationPort(Protocol::Tcp, 22),
        Match::DestinationPort(Protocol::Udp, 53),
        Match::DestinationPortIn(Protocol::Udp, set("ports")),
        Match::SourcePortIn(Protocol::Tcp, set("ports")),
        Match::ServiceIn(set("services"), Family::Ipv6),
        Match::ServiceIn(set("services_v4"), Family::Ipv4),
        Match::InputLinkIn(set("counts")),
        Match::OutputLinkIn(set("shares")),
        Match::InputLinkIn(set("limits")),
        Match::Limit { per_second: 100, burst: 20 },
    ];
    let mut rules: Vec<Rule> = every
        .into_iter()
        .enumerate()
        .map(|(i, condition)| rule(vec![condition], Action::Accept, &format!("match {i}")))
        .collect();
    let several = vec![Match::Family(Family::Ipv6), Match::TcpSyn];
    rules.push(rule(several, Action::ClampMss, "clamp"));
    rules.push(rule(vec![Match::NoWay(Family::Ipv4)], Action::Count, "counted"));
    rules.push(rule(vec![Match::Family(Family::Ipv4)], Action::Refuse, "refused"));
    let by_input = Action::DropByInput(set("drops"));
    rules.push(rule(vec![Match::SourceNotHere], by_input, "dropped and counted by link"));
    let by_output = Action::DropByOutput(set("rates"));
    rules.push(rule(vec![Match::Icmpv6Type(2)], by_output, "dropped beyond a rate"));
    rules.push(rule(vec![], Action::Drop, "closed"));
    rules
}
