//! A gateway whose link to the segment is a NIC of the host's itself: it is moved there, and comes back as it was. Needs root
//! and ip.
//!
//! A cable's end is the NIC here: it moves as a card does. But the kernel takes it away with its namespace where it would give a
//! card back, so that it is lost if it does not leave first. What is given back is shown in a virtual machine, with a card.
//!
//! ```text
//! host: eth0 ── macvlan: public        ─┐
//! gw-1-1: pub-1-1, which was eth2      ─┼─ wire, the router
//! gw-2-1: pub-2-1, which was eth3, down ─┘
//! ```
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod ground;

use std::process::{Command, Stdio};
use std::time::Duration;

use ground::{Node, alone, chain, ip, link, netns, run};
use serde_json::Value;
use sixfold_core::desire::{Own, desire};
use sixfold_core::name::{IfName, rule};
use sixfold_core::plan::{Plan, plan};
use sixfold_core::spec::parse_all;
use sixfold_core::state::{AddressKey, Backend, Link, LinkKind, Namespace, Netns, NodeState, SysctlName};
use sixfold_core::trial::Trial;
use sixfold_kernel::Scope;
use sixfold_kernel::linux::{Config, Watch};

const MAC: &str = "52:54:00:00:00:02";

/// The exit node of the first farm, without tunnels, with this for its slots.
fn with(nics: &str) -> NodeState {
    let farm = include_str!("../../../examples/first-farm/farm.toml");
    let farm = format!("{farm}\n[[provision]]\nnode = \"ant\"\nnics = [{nics}]\n");
    let files =
        [("farm.toml", farm.as_str()), ("acme.toml", include_str!("../../../examples/first-farm/acme.toml"))];
    let world = parse_all(&files.map(|(name, text)| (name.to_owned(), text.to_owned()))).unwrap();
    let snapshot = Trial::new(world).unwrap().snapshot(&"ant".parse().unwrap()).unwrap();
    desire(&snapshot, &Own::of(Backend::Tunnel))
}

fn both() -> NodeState {
    with("{ link = \"eth2\", slot = 1 }, { link = \"eth3\", slot = 2 }")
}

fn nothing() -> NodeState {
    let mut state = NodeState::default();
    state.at(Netns::Host);
    state
}

/// Three cables to a router: the host's own, and two that nobody uses, of which one is up and somebody's note is on it.
fn cables() {
    run("ip netns add far");
    run("ip -n far link add wire type bridge");
    run("ip -n far link set wire up");
    for at in [0, 2, 3] {
        run(&format!("ip link add eth{at} mtu 1600 type veth peer name q{at} mtu 1600 netns far"));
        run(&format!("ip -n far link set q{at} master wire up"));
    }
    run("ip link set eth0 up");
    run(&format!("ip link set eth2 address {MAC} mtu 1550 up"));
    run("ip link set eth2 alias rack-3");
    for address in ["fe80::1/64", "2001:db8:a::1/64"] {
        run(&format!("ip -n far addr add {address} dev wire nodad"));
    }
    run("ip -n far addr add 203.0.113.1/24 dev wire");
}

fn is_answered(address: &str) -> bool {
    let mut ping = Command::new("ip");
    ping.args(["netns", "exec", "far", "ping", "-c", "2", "-i", "0.2", "-W", "2", address]);
    ping.output().unwrap().status.success()
}

/// The same at one of the router's addresses.
fn is_answered_at(own: &str, address: &str) -> bool {
    let mut ping = Command::new("ip");
    ping.args(["netns", "exec", "far", "ping", "-I", own, "-c", "2", "-i", "0.2", "-W", "2", address]);
    ping.output().unwrap().status.success()
}

/// Each link of the host's, as it is set up; what follows from cables and the kernel's numbers is left out.
fn links() -> Value {
    let mut links = ip("-d link show");
    for link in links.as_array_mut().unwrap() {
        let link = link.as_object_mut().unwrap();
        for passing in ["operstate", "ifindex", "link_index", "link_netnsid", "linkmode"] {
            link.remove(passing);
        }
        let flags = link["flags"].as_array_mut().unwrap();
        flags.retain(|flag| flag != "LOWER_UP" && flag != "NO-CARRIER" && flag != "M-DOWN");
    }
    let all = links.as_array_mut().unwrap();
    all.sort_by_key(|link| link["ifname"].to_string());
    links
}

fn kind_at(state: &NodeState, at: &str, name: &str) -> Option<IfName> {
    match state.namespaces.get(&netns(at))?.links.get(&link(name))?.kind {
        LinkKind::Nic { nic, .. } => Some(nic),
        _ => None,
    }
}

#[test]
fn a_nic_is_the_gateways_link_and_comes_back_as_it_was() {
    alone(|| {
        cables();
        let before = links();
        let mut node = Node::new();
        let todo = node.converge(&both());
        let there = node.observe();
        assert_eq!(kind_at(&there, "gw-1-1", "pub-1-1"), Some(link("eth2")), "{todo}");
        assert_eq!(kind_at(&there, "gw-2-1", "pub-2-1"), Some(link("eth3")), "{todo}");
        assert_eq!(links().as_array().unwrap().len(), 2, "lo and eth0 are left");
        for address in ["2001:db8:a::a1", "2001:db8:a:0:1000::1", "203.0.113.5"] {
            assert!(is_answered(address), "{address}");
        }
        let standby = &ip("-n gw-2-1 link show pub-2-1")[0];
        assert!(!standby["flags"].as_array().unwrap().contains(&"UP".into()), "{standby}");
        assert_eq!(standby["address"], "02:6f:00:01:02:01");
        // A second agent finds it as the first one left it.
        assert!(plan(&both(), &Node::new().observe()).is_empty());
        // The slot's link is a macvlan again, and the other one stays.
        node.converge(&with("{ link = \"eth3\", slot = 2 }"));
        assert!(is_answered("2001:db8:a:0:1000::1"));
        let eth2 = |links: &Value| {
            links.as_array().unwrap().iter().find(|link| link["ifname"] == "eth2").cloned().unwrap()
        };
        assert_eq!(eth2(&links()), eth2(&before));
        // The links change places.
        node.converge(&both());
        node.converge(&with("{ link = \"eth3\", slot = 1 }, { link = \"eth2\", slot = 2 }"));
        assert_eq!(kind_at(&node.observe(), "gw-1-1", "pub-1-1"), Some(link("eth3")));
        assert!(is_answered("2001:db8:a:0:1000::1"));
        node.converge(&nothing());
        assert_eq!(links(), before);
    });
}

/// Each beginning of a plan is what an agent may have done when it ended.
fn cut_at_each_step(from: fn() -> NodeState, to: fn() -> NodeState) {
    cables();
    let before = links();
    let mut node = Node::new();
    node.converge(&from());
    let steps = plan(&to(), &node.observe()).steps;
    node.converge(&nothing());
    for count in 0..steps.len() {
        if !steps[..count].last().is_some_and(|step| step.to_string().contains("eth")) && count % 7 != 0 {
            continue;
        }
        node.converge(&from());
        node.succeed(&Plan { steps: steps[..count].to_vec() });
        let mut next = Node::new();
        next.converge(&to());
        next.converge(&nothing());
        assert_eq!(links(), before, "after {count} steps");
    }
}

#[test]
fn wherever_an_agent_ends_the_next_one_finds_the_nic() {
    alone(|| cut_at_each_step(nothing, both));
    alone(|| cut_at_each_step(both, nothing));
    alone(|| cut_at_each_step(both, || with("{ link = \"eth2\", slot = 2 }")));
}

/// Says to this program what it is to bring about, and after which effect it is to be ended.
const BRING: &str = "SIXFOLD_TEST_BRINGS";

/// A gateway with its link and nothing else, so that each effect can be the last.
fn small(nic: &str) -> NodeState {
    let mut state = nothing();
    let there = state.at(netns("gw-1-1"));
    *there = Namespace::fresh();
    there.sysctls.insert(SysctlName("net/ipv6/conf/default/addr_gen_mode".to_owned()), "1".to_owned());
    let mac = Some("02:6f:00:01:01:01".parse().unwrap());
    let kind = LinkKind::Nic { nic: link(nic), home: None };
    there.links.insert(link("pub-1-1"), Link { kind, up: true, mtu: Some(1500), mac });
    there.addresses.insert(AddressKey::new(link("pub-1-1"), "2001:db8::1/64".parse().unwrap()), ());
    state
}

fn brought(what: &str) -> NodeState {
    if what.is_empty() { nothing() } else { small(what) }
}

/// Is the agent that is ended, if this program was started as that.
#[test]
fn agent_process() {
    let Ok(what) = std::env::var(BRING) else { return };
    let mut node = Node::new();
    let todo = plan(&brought(&what), &node.observe());
    node.succeed(&todo);
}

#[test]
fn whichever_effect_was_the_last_the_next_agent_goes_on_from_there() {
    for (from, to) in [("", "eth2"), ("eth2", ""), ("eth2", "eth3")] {
        alone(move || {
            cables();
            let before = links();
            let mut cuts = 0;
            loop {
                Node::new().converge(&brought(from));
                cuts += 1;
                let mut agent = Command::new(ground::program());
                agent.args(["--exact", "agent_process"]).stdout(Stdio::null());
                let ended = agent.env(BRING, to).env("SIXFOLD_CUT", cuts.to_string()).status().unwrap();
                Node::new().converge(&brought(to));
                Node::new().converge(&nothing());
                assert_eq!(links(), before, "after {cuts} effects from {from:?} to {to:?}");
                if ended.success() {
                    break;
                }
            }
            assert!(cuts > 4, "{cuts}");
        });
    }
}

/// What lies between the note and the move, and what is left where the kernel gives a card back: by another name, with our
/// hardware address and MTU.
#[test]
fn a_nic_in_the_hosts_namespace_that_bears_our_note_goes_on_or_home() {
    for (name, desired) in
        [("eth2", both as fn() -> NodeState), ("pub-1-1", both), ("eth2", nothing), ("dev9", nothing)]
    {
        alone(move || {
            cables();
            let before = links();
            run("ip link set eth2 down");
            run(&format!("ip link set eth2 name {name} address 02:6f:1f:fe:00:01 mtu 1500"));
            let mut note = Command::new("ip");
            note.args([
                "link",
                "set",
                name,
                "alias",
                &format!("sixfold nic=eth2 mac={MAC} mtu=1550 up alias=rack-3"),
            ]);
            assert!(note.status().unwrap().success());
            let mut node = Node::new();
            node.converge(&desired());
            node.converge(&nothing());
            assert_eq!(links(), before, "{name}");
        });
    }
}

#[test]
fn a_link_that_cannot_be_moved_is_named_with_what_it_is_and_what_to_do() {
    let unfit: [(&str, &str, &str); 5] = [
        ("ip link del eth2", "no link eth2", "`nics` in the farm file"),
        (
            "ip addr add 198.51.100.9/24 dev eth2",
            "link eth2 has addresses of the host's own",
            "take them off",
        ),
        (
            "ip -6 addr add 2001:db8:9::1/64 dev eth2 nodad",
            "link eth2 has addresses of the host's own",
            "take them off",
        ),
        ("bridge", "link eth2 is a bridge, which stays in its namespace", "a card"),
        ("port", "link eth2 is a port of the bridge br0", "name that one"),
    ];
    for (made, said, hint) in unfit {
        alone(move || {
            cables();
            match made {
                "bridge" => {
                    run("ip link del eth2");
                    run("ip link add eth2 type bridge");
                }
                "port" => {
                    run("ip link add br0 type bridge");
                    run("ip link set eth2 master br0");
                }
                command => drop(run(command)),
            }
            let before = links();
            let mut node = Node::new();
            let todo = plan(&both(), &node.observe());
            let report = node.apply(&todo);
            let failed = report.failures.iter().find(|failure| failure.step.to_string().contains("eth2"));
            let failed = failed.unwrap_or_else(|| panic!("{made}: it is moved"));
            assert!(chain(failed).ends_with(said), "{}", chain(failed));
            assert!(failed.hint().unwrap_or_default().contains(hint), "{:?}", failed.hint());
            node.converge(&nothing());
            assert_eq!(links(), before, "{made}");
        });
    }
}

/// Its name is another link's now: it waits, and is told of, until that is gone.
#[test]
fn a_nic_whose_name_is_taken_comes_home_once_it_is_free() {
    alone(|| {
        cables();
        let before = links();
        let mut node = Node::new();
        node.converge(&both());
        run("ip link add eth2 type bridge");
        let todo = plan(&nothing(), &node.observe());
        let report = node.apply(&todo);
        let said: Vec<String> = report.failures.iter().map(|failure| chain(failure)).collect();
        assert!(said.len() == 1 && said[0].ends_with("another link has the name eth2"), "{said:?}");
        run("ip link del eth2");
        node.converge(&nothing());
        assert_eq!(links(), before);
    });
}

/// The same node, with a NIC for its workload, if both its farmer and the tenant say so.
fn with_workloads(nic: bool) -> NodeState {
    let farm = include_str!("../../../examples/first-farm/farm.toml");
    let farm = format!(
        "{farm}\n[[provision]]\nnode = \"ant\"\nnics = [{{ link = \"eth2\", network = \"acme/web\" }}]\n"
    );
    let acme = include_str!("../../../examples/first-farm/acme.toml");
    let asks = acme.replacen("node = \"ant\"\n", "node = \"ant\"\nnic = \"eth2\"\n", 1);
    assert_ne!(asks, acme);
    let files = [("farm.toml", farm.as_str()), ("acme.toml", if nic { &asks } else { acme })];
    let world = parse_all(&files.map(|(name, text)| (name.to_owned(), text.to_owned()))).unwrap();
    let snapshot = Trial::new(world).unwrap().snapshot(&"ant".parse().unwrap()).unwrap();
    desire(&snapshot, &Own::of(Backend::Tunnel))
}

/// What the workload gives its NIC is its own, and stays; who is on the cable reaches it by that, and nothing by the network's address,
/// nobody passes for the network, and nothing passes through.
#[test]
fn a_workload_has_a_nic_for_itself() {
    alone(|| {
        cables();
        let before = links();
        let (desired, mut node) = (with_workloads(true), Node::new());
        node.converge(&with_workloads(false));
        let unasked = links();
        node.converge(&desired);
        let has = |(_, there): &(&Netns, &Namespace)| there.links.contains_key(&link("eth2"));
        let (at, there) = desired.namespaces.iter().find(has).unwrap();
        let own = |v6: bool| {
            let mut addresses = there.addresses.keys().map(|key| key.address.addr());
            addresses.find(|address| address.is_ipv6() == v6).unwrap()
        };
        assert!(links().as_array().unwrap().iter().all(|link| link["ifname"] != "eth2"));
        // The tenant's.
        run(&format!("ip -n {at} addr add 198.51.100.2/24 dev eth2"));
        // Without the first of these it asks for no neighbour but from an address that is on this link.
        for address in ["fe80::2/64", "2001:db8:9::2/64"] {
            run(&format!("ip -n {at} addr add {address} dev eth2 nodad"));
        }
        run(&format!("ip -n {at} route add 198.51.100.128/25 via 198.51.100.1"));
        run(&format!("ip netns exec {at} sysctl -qw net.ipv6.conf.eth2.accept_ra=2"));
        let rest = plan(&desired, &node.observe());
        assert!(rest.is_empty(), "what is on it is nobody's difference:\n{rest}");
        run("ip -n far addr add 198.51.100.1/24 dev wire");
        run("ip -n far addr add 2001:db8:9::1/64 dev wire nodad");
        for cable in ["198.51.100.2", "2001:db8:9::2"] {
            assert!(is_answered(cable), "{cable}");
        }
        // Its network's addresses, by the cable.
        run(&format!("ip -n far route add {} via 2001:db8:9::2", own(true)));
        run(&format!("ip -n far route add {} via 198.51.100.2", own(false)));
        // And something that lies behind it, and somebody whom it knows by its network.
        run(&format!("ip netns exec {at} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"));
        run("ip -n far route add 10.99.0.0/16 via 198.51.100.2");
        run("ip -n far addr add 10.1.2.3/32 dev wire");
        let counted = |comment: &str| {
            let rules = run(&format!("ip netns exec {at} nft list table inet sixfold"));
            let line =
                rules.lines().find(|line| line.contains(&format!("\"{comment}\""))).unwrap().to_owned();
            !line.contains("packets 0 ")
        };
        let [by_v6, by_v4] =
            [("2001:db8:9::1", own(true).to_string()), ("198.51.100.1", own(false).to_string())];
        assert!(!is_answered_at(by_v6.0, &by_v6.1) && counted(rule::OTHER_WAY));
        assert!(!is_answered_at(by_v4.0, &by_v4.1) && counted(rule::OTHER_WAY_V4));
        assert!(!is_answered("10.99.0.1") && counted(rule::APART));
        assert!(!is_answered_at("10.1.2.3", "198.51.100.2") && counted(rule::SPOOFED));
        // Without the rules it does answer by its network's address.
        run(&format!("ip netns exec {at} nft delete table inet sixfold"));
        assert!(is_answered_at(by_v6.0, &by_v6.1) && is_answered_at(by_v4.0, &by_v4.1));
        node.converge(&desired);
        // The tenant asks no more.
        node.converge(&with_workloads(false));
        assert_eq!(links(), unasked);
        node.converge(&desired);
        node.converge(&nothing());
        assert_eq!(links(), before);
    });
}

const MODULES: &str = "virtio_net,8021q,veth,macvlan,bridge,nf_tables,nft_fib_inet,nft_fib_ipv4,nft_fib_ipv6,nft_ct,nft_limit,nft_nat,nft_chain_nat,nft_connlimit,nft_reject_inet";

/// A card, which the kernel gives back when its namespace ends, on Debian's stock kernel.
#[test]
fn a_card_that_the_kernel_gave_back_is_put_right() {
    if std::env::var_os("VM_OUT").is_none() {
        let program = std::env::current_exe().unwrap();
        let mut machine = Command::new(env!("CARGO"));
        machine.args(["xtask", "vm", "--cable", "--modules", MODULES, "--"]).arg(program);
        machine.args(["--exact", "a_card_that_the_kernel_gave_back_is_put_right", "--nocapture"]);
        let output = machine.output().expect("cargo runs");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "on the stock kernel (cargo xtask vm):\n{text}");
        assert!(text.contains("1 passed"), "the machine did not run the test:\n{text}");
        return;
    }
    // Here the first namespace is the machine's own: nowhere else does a card go when its namespace ends.
    run("ip netns add far");
    run("ip link set eth0 netns far");
    run("ip -n far link set eth0 name cable up");
    run("ip link add eth0 type veth peer name q0 netns far");
    run("ip link set eth0 up");
    run("ip link set eth1 mtu 1400 up");
    a_card("cable");
    run("ip link set eth1 mtu 1500");
    run("ip link add link eth1 name eth1.20 type vlan id 20");
    run("ip -n far link add link cable name cable.20 type vlan id 20");
    run("ip -n far link set cable.20 up");
    a_vlan();
}

fn router(on: &str) {
    run("ip -n far addr flush scope global");
    for address in ["fe80::1/64", "2001:db8:a::1/64"] {
        run(&format!("ip -n far addr replace {address} dev {on} nodad"));
    }
    run(&format!("ip -n far addr replace 203.0.113.1/24 dev {on}"));
}

fn a_card(far: &str) {
    router(far);
    let before = links();
    let of_the_card = || with("{ link = \"eth1\", slot = 1 }");
    let mut node = Node::new();
    let mut watch = Watch::new(&Config::default()).unwrap();
    node.converge(&of_the_card());
    assert!(is_answered("2001:db8:a:0:1000::1") && is_answered("203.0.113.5"));
    for (round, desired) in [of_the_card(), of_the_card(), nothing()].iter().enumerate() {
        if round == 1 {
            // The kernel gives it back by a name of its own choice.
            run("ip link add pub-1-1 type veth peer name other");
        }
        drop(watch.wait(Duration::ZERO).unwrap());
        run("ip netns del gw-1-1");
        // What looks again lets go of a namespace that has lost its name, and only then that ends.
        drop(node.observe());
        heard_of_home(&mut watch);
        let returned = node.observe().namespaces[&Netns::Host].links.clone();
        let Some((name, there)) = returned.first_key_value() else { panic!("it is not seen") };
        assert!(matches!(&there.kind, LinkKind::Nic { nic: it, .. } if *it == link("eth1")), "{there:?}");
        assert_eq!(name.as_str() == "pub-1-1", round != 1, "{name}");
        assert_eq!((there.up, there.mtu), (false, Some(1500)), "down, and as it was there");
        node.converge(desired);
        if round == 1 {
            run("ip link del pub-1-1");
        }
        assert!(round == 2 || is_answered("2001:db8:a:0:1000::1"));
    }
    assert_eq!(links(), before);
}

/// Waits until something is heard of the host's namespace.
fn heard_of_home(watch: &mut Watch) {
    for _ in 0..60 {
        match watch.wait(Duration::from_secs(1)).unwrap() {
            Scope::Only(changed) if !changed.contains(&Netns::Host) => {}
            _ => return,
        }
    }
    panic!("nothing is heard of a card that came back");
}

/// A VLAN ends with its namespace: it is missed, by its name, and taken again once somebody has made it.
fn a_vlan() {
    router("cable.20");
    let before = links();
    let desired = with("{ link = \"eth1.20\", slot = 1 }");
    let mut node = Node::new();
    node.converge(&desired);
    assert!(is_answered("2001:db8:a:0:1000::1"));
    node.converge(&nothing());
    assert_eq!(links(), before);
    node.converge(&desired);
    run("ip netns del gw-1-1");
    let missed = |node: &mut Node| {
        let todo = plan(&desired, &node.observe());
        let failures = node.apply(&todo).failures;
        failures.iter().any(|failure| chain(failure).ends_with("no link eth1.20"))
    };
    // It ends a little later than its name.
    let missed = (0..50).any(|_| {
        missed(&mut node) || {
            std::thread::sleep(Duration::from_millis(100));
            false
        }
    });
    assert!(missed);
    run("ip link add link eth1 name eth1.20 type vlan id 20");
    node.converge(&desired);
    assert!(is_answered("2001:db8:a:0:1000::1"));
    node.converge(&nothing());
    assert_eq!(links(), before);
}
