//! What a plan prints is what `nft` and `ip` themselves take: printed plans run as scripts in network and mount
//! namespaces of their own. These tests need root, iproute2 and nftables, and fail without them.
#![expect(clippy::disallowed_types, reason = "core starts no process: its oracles do")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use sixfold_core::plan::{Op, Plan, Stage, Step, plan};
use sixfold_core::state::{
    Action, ByteLimit, Chain, ChainName, Element, ElementKey, Hook, HookPoint, Link, LinkKind, Match,
    NodeState, Protocol, Rule, Set, SetKind, SetName,
};

use super::display::every_rule;
use super::evolve::netns;
use crate::farm::{Farm, bare};

/// The NIC that a farm file names, which no plan makes.
const NIC: &str =
    "ip link add name eth0 type veth peer name wire0\nip link set eth0 up\nip link set wire0 up\n";

/// Runs a shell script in namespaces of its own, which end with it, and returns what it wrote.
fn run(script: &str) -> String {
    let mut shell = Command::new("unshare")
        .args(["--net", "--mount", "--", "sh", "-e", "-s"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("`unshare` of util-linux must be there: `cargo xtask test` installs what the tests need");
    let ground = "mount --make-rprivate / && mount -t tmpfs none /run && mkdir /run/netns\n";
    shell.stdin.take().unwrap().write_all(format!("{ground}{script}").as_bytes()).unwrap();
    let done = shell.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(
        done.status.success(),
        "this test needs root, `ip` and `nft` (`cargo xtask test` installs them); the shell said:\n{said}"
    );
    String::from_utf8(done.stdout).unwrap()
}

fn script(steps: impl Iterator<Item = Step>) -> String {
    steps.map(|step| format!("{step}\n")).collect()
}

/// What an observation does not show of the example: bridge-nf needs a module, and keys are not state.
fn is_plain(step: &Step) -> bool {
    !matches!(&step.op, Op::SetDevice { .. } | Op::SetPeer { .. })
        && !matches!(&step.op, Op::SetSysctl { name, .. } if name.0.starts_with("net/bridge/"))
}

fn ant() -> Plan {
    plan(&Farm::first().desired(&"ant".parse().unwrap()), &bare())
}

#[test]
fn every_rule_that_can_be_printed_is_one_that_nft_reads() {
    let sets = [
        ("prefixes", SetKind::Prefixes),
        ("prefixes_v4", SetKind::PrefixesV4),
        ("ports", SetKind::Ports),
        ("services", SetKind::Services),
        ("services_v4", SetKind::ServicesV4),
        ("counts", SetKind::LinkCounts),
        ("shares", SetKind::LinkShares { connections: 4096 }),
        ("rates", SetKind::LinkRates { per_second: 100, burst: 50 }),
        ("limits", SetKind::LinkBytes),
        ("blocks", SetKind::LinkPorts),
        ("addresses", SetKind::AddressesV4),
        ("forwards", SetKind::ForwardsV4),
    ];
    let at = |op| Step { stage: Stage::Firewall, netns: netns("it"), op };
    let chain = |name: &'static str, (point, priority, nat), rules: Vec<Rule>| {
        at(Op::SetChain {
            name: ChainName(name.into()),
            chain: Chain { hook: Hook { point, priority, nat }, rules: rules.into() },
        })
    };
    let rule = |action| vec![Rule { matches: vec![Match::TcpSyn], action, comment: "it".into() }];
    let snat = Action::Snat { address: "203.0.113.5".parse().unwrap(), ports: (1024, 65_535) };
    let mut steps = vec![at(Op::AddNetns), at(Op::AddTable)];
    let add = |(name, kind): (&'static str, SetKind)| {
        at(Op::AddSet { name: SetName(name.into()), set: Set { kind } })
    };
    steps.extend(sets.map(add));
    // Where the packet would go is known in forward; nft refuses a `fib ... iif` in the other chains.
    steps.push(chain("forward", (HookPoint::Forward, 0, false), every_rule()));
    steps.push(chain("source", (HookPoint::Prerouting, -300, false), rule(Action::Notrack)));
    steps.push(chain("nat", (HookPoint::Postrouting, 100, true), rule(snat)));
    let blocks = SetName("blocks".into());
    let by_input = Action::SnatByInput(blocks.clone());
    steps.push(chain("nat_by_input", (HookPoint::Postrouting, 101, true), rule(by_input)));
    let by_map = |action: fn(SetName) -> Action, map: &'static str| rule(action(SetName(map.into())));
    let by_source = by_map(Action::SnatBySource, "addresses");
    steps.push(chain("nat_by_source", (HookPoint::Postrouting, 102, true), by_source));
    let by_destination = by_map(Action::DnatByDestination, "addresses");
    steps.push(chain("nat_by_destination", (HookPoint::Prerouting, -100, true), by_destination));
    let by_service = by_map(Action::DnatByService, "forwards");
    steps.push(chain("nat_by_service", (HookPoint::Prerouting, -99, true), by_service));
    let link = "to-1abc-1".parse().unwrap();
    let (own, inside) = ("203.0.113.5".parse().unwrap(), "10.26.188.2".parse().unwrap());
    let ports = Element::LinkPorts(link, "203.0.113.5".parse().unwrap(), (1024, 2047));
    for (set, element) in [
        ("counts", Element::Link(link)),
        ("counts", Element::OtherLinks),
        ("shares", Element::LinkShare(link, 4096)),
        ("rates", Element::Link(link)),
        ("rates", Element::OtherLinks),
        ("limits", Element::LinkBytes(link, ByteLimit { per_second: 12_500_000_000, burst: 65_600 })),
        ("blocks", ports),
        ("addresses", Element::AddressV4(own, inside)),
        ("forwards", Element::ForwardV4(own, Protocol::Tcp, 443, (inside, 8443))),
    ] {
        steps.push(at(Op::AddElement(ElementKey { set: SetName(set.into()), element })));
    }
    let count = every_rule().len() + 6;
    let listed = run(&format!("{}ip netns exec it nft list table inet sixfold\n", script(steps.into_iter())));
    assert_eq!(listed.lines().filter(|line| line.contains("comment \"")).count(), count, "{listed}");
}

#[test]
fn a_whole_plan_runs_as_a_script_and_the_tools_show_what_it_desired() {
    let plan = ant();
    let show = "for n in gw-1-1 public; do ip netns exec $n nft list table inet sixfold; done\n\
                ip -n gw-1-1 route; ip -n gw-1-1 -6 route; ip -n gw-1-1 nexthop; ip -n gw-1-1 neigh; ip netns\n";
    let shown =
        run(&format!("{NIC}{}{show}", script(plan.steps.iter().filter(|step| is_plain(step)).cloned())));
    for step in plan.steps.iter().filter(|step| step.netns == netns("gw-1-1")) {
        match &step.op {
            Op::SetChain { chain, .. } => {
                for rule in &chain.rules {
                    assert!(shown.contains(&format!("comment \"{}\"", rule.comment)), "{}", rule.comment);
                }
            }
            Op::SetRoute { key, .. } => {
                let text = key.destination.to_string();
                let text =
                    text.trim_end_matches("/32").replace("0.0.0.0/0", "default").replace("::/0", "default");
                assert!(shown.contains(&text), "{text}");
            }
            Op::SetNexthop { id, nexthop } => {
                assert!(shown.contains(&format!("id {id} via {}", nexthop.gateway)), "{shown}");
            }
            Op::SetNeighbour { mac, .. } => assert!(shown.contains(&mac.to_string()), "{shown}"),
            _ => {}
        }
    }
}

#[test]
fn a_removal_runs_as_a_script_and_leaves_nothing() {
    let farm = Farm::first();
    let desired = farm.desired(&"ant".parse().unwrap());
    let build = plan(&desired, &bare());
    let mut less = desired.clone();
    less.namespaces.retain(|at, _| *at == netns("public") || *at == sixfold_core::state::Netns::Host);
    let remove = [plan(&less, &desired), plan(&bare(), &less)].map(|plan| plan.steps).concat();
    let steps = build.steps.into_iter().chain(remove).filter(is_plain);
    let shown = run(&format!("{NIC}{}echo left:\nip netns\nip -br link show group 200\n", script(steps)));
    assert!(shown.ends_with("left:\n"), "{shown}");
}

/// Each address, link, set and element taken away and put back, one by one, in the namespace where it lives.
#[test]
fn each_small_change_of_a_gateway_runs_too() {
    let desired = Farm::first().desired(&"ant".parse().unwrap());
    let build = plan(&desired, &bare());
    let mut other: NodeState = desired.clone();
    let ns = other.at(netns("gw-1-1"));
    ns.routes.pop_first();
    ns.routes.pop_last();
    ns.addresses.pop_first();
    ns.neighbours.pop_first();
    let table = ns.firewall.as_mut().unwrap();
    table.elements.pop_first();
    table.chains.remove(&ChainName("nat".into()));
    for Link { kind, mtu, .. } in ns.links.values_mut() {
        if matches!(kind, LinkKind::Veth { .. }) {
            *mtu = Some(1400);
        }
    }
    let there = plan(&other, &desired);
    let back = plan(&desired, &other);
    assert!(there.len() >= 8 && back.len() >= 8, "{there}{back}");
    let steps = build.steps.into_iter().chain(there.steps).chain(back.steps).filter(is_plain);
    run(&format!("{NIC}{}", script(steps)));
}
