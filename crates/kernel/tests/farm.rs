//! A small farm in namespaces: built, observed, compared with `ip -j`, damaged, repaired and removed.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod ground;

use std::collections::BTreeMap;
use std::time::Duration;

use ground::{Node, alone, ip, link, netns, run};
use sixfold_core::plan::plan;
use sixfold_core::state::{
    AddressKey, Firewall, Link, LinkEnd, LinkKind, METRIC, METRIC_UNDERNEATH, NeighbourKey, Netns, Nexthop,
    NexthopId, NodeState, RouteKey, RouteTarget, SysctlName,
};
use sixfold_kernel::Kernel as _;

const RESOURCE: &str = "net-1234-1";
const GATEWAY: &str = "gw-1-1";

fn loopback() -> Link {
    Link { kind: LinkKind::Loopback, up: true, mtu: None, mac: None }
}

fn veth(end: (&str, &str), mtu: u16, mac: &str) -> Link {
    let peer = LinkEnd { netns: netns(end.0), link: link(end.1) };
    Link { kind: LinkKind::Veth { peer }, up: true, mtu: Some(mtu), mac: Some(mac.parse().unwrap()) }
}

fn key(destination: &str, metric: u32) -> RouteKey {
    RouteKey { destination: destination.parse().unwrap(), metric }
}

fn address(on: &str, address: &str) -> (AddressKey, ()) {
    (AddressKey::new(link(on), address.parse().unwrap()), ())
}

fn via(gateway: &str, on: &str) -> RouteTarget {
    RouteTarget::Via { gateway: gateway.parse().unwrap(), link: link(on) }
}

/// A resource with a TUN, a gateway on a macvlan, and the namespace of public sockets.
fn farm() -> NodeState {
    let mut state = NodeState::default();
    state.at(Netns::Host);
    resource(&mut state);
    gateway(&mut state);
    let public = state.at(netns("public"));
    public.firewall = Some(Firewall::default());
    public.sysctls.insert(SysctlName("net/ipv6/conf/default/addr_gen_mode".into()), "1".into());
    public.links.insert(link("lo"), loopback());
    let kind = LinkKind::Macvlan { parent: link("uplink") };
    public.links.insert(link("public"), Link { kind, up: true, mtu: Some(1500), mac: None });
    state
}

fn resource(state: &mut NodeState) {
    let at = state.at(netns(RESOURCE));
    let sysctls = [
        ("net/ipv6/conf/all/forwarding", "1"),
        ("net/ipv6/conf/default/addr_gen_mode", "1"),
        // Off also where the kernel has no such filter.
        ("net/bridge/bridge-nf-call-ip6tables", "0"),
    ];
    for (name, value) in sysctls {
        at.sysctls.insert(SysctlName(name.into()), value.into());
    }
    at.links.insert(link("lo"), loopback());
    at.links.insert(link("pub-1234-1"), veth((GATEWAY, "to-1234-1"), 1400, "02:00:00:00:00:01"));
    let tun = LinkKind::Tun { socket: Some(netns("public")) };
    at.links.insert(link("wg-1234-1"), Link { kind: tun, up: true, mtu: Some(1340), mac: None });
    at.addresses.extend([
        address("lo", "2001:db8:1234::1/128"),
        address("pub-1234-1", "fe80::1/64"),
        address("wg-1234-1", "10.18.52.1/16"),
        address("wg-1234-1", "fe80::1234/64"),
    ]);
    at.routes.extend([
        (key("::/0", METRIC), via("fe80::2", "pub-1234-1")),
        (key("0.0.0.0/0", METRIC), via("fe80::2", "pub-1234-1")),
        (key("2001:db8:1234::/64", METRIC_UNDERNEATH), RouteTarget::Unreachable),
        (key("2001:db8:1234::/64", METRIC), RouteTarget::Link(link("wg-1234-1"))),
        (key("10.0.0.0/8", METRIC_UNDERNEATH), RouteTarget::Unreachable),
        (key("10.1.2.0/24", METRIC), RouteTarget::Link(link("wg-1234-1"))),
        (key("198.51.100.0/24", METRIC), via("10.18.7.7", "wg-1234-1")),
    ]);
}

fn gateway(state: &mut NodeState) {
    let at = state.at(netns(GATEWAY));
    at.sysctls.insert(SysctlName("net/ipv4/ip_forward".into()), "1".into());
    at.sysctls.insert(SysctlName("net/ipv6/conf/default/addr_gen_mode".into()), "1".into());
    at.links.insert(link("lo"), loopback());
    at.links.insert(link("to-1234-1"), veth((RESOURCE, "pub-1234-1"), 1400, "02:00:00:00:00:02"));
    let kind = LinkKind::Macvlan { parent: link("uplink") };
    let mac = Some("02:00:00:00:00:03".parse().unwrap());
    at.links.insert(link("pub-1-1"), Link { kind, up: true, mtu: Some(1500), mac });
    at.addresses.extend([address("to-1234-1", "fe80::2/64"), address("pub-1-1", "2001:db8::1/64")]);
    let neighbour = NeighbourKey { link: link("to-1234-1"), address: "fe80::1".parse().unwrap() };
    at.neighbours.insert(neighbour, "02:00:00:00:00:01".parse().unwrap());
    let nexthop = Nexthop { gateway: "fe80::1".parse().unwrap(), link: link("to-1234-1") };
    at.nexthops.insert(NexthopId(0x1234_0001), nexthop);
    at.routes.extend([
        (key("2001:db8:1234::/64", METRIC), RouteTarget::Nexthop(NexthopId(0x1234_0001))),
        (key("10.18.52.0/24", METRIC), RouteTarget::Nexthop(NexthopId(0x1234_0001))),
        (key("2001:db8:1000::/36", METRIC_UNDERNEATH), RouteTarget::Unreachable),
        (key("::/0", METRIC), via("2001:db8::ffff", "pub-1-1")),
    ]);
}

/// A link of someone else's that macvlans stand on.
fn uplink() {
    run("ip link add uplink type veth peer name upstream");
    // An address of the kernel's own would be tentative for a second.
    run("ip link set upstream addrgenmode none");
    run("ip link set uplink addrgenmode none");
    run("ip link set upstream up");
    run("ip link set uplink up");
}

fn links_by_name(list: &serde_json::Value) -> BTreeMap<String, &serde_json::Value> {
    list.as_array().unwrap().iter().map(|link| (link["ifname"].as_str().unwrap().to_owned(), link)).collect()
}

#[test]
fn a_farm_converges_and_is_what_ip_shows() {
    alone(|| {
        uplink();
        let mut node = Node::new();
        let desired = farm();
        node.converge(&desired);
        let observed = node.observe();
        for (netns, want) in &desired.namespaces {
            let there = &observed.namespaces[netns];
            assert_eq!(there.addresses, want.addresses, "{netns}");
            assert_eq!(there.routes, want.routes, "{netns}");
            assert_eq!(there.nexthops, want.nexthops, "{netns}");
            assert_eq!(there.neighbours, want.neighbours, "{netns}");
        }
        let shown = ip(&format!("-n {RESOURCE} -d link"));
        let shown = links_by_name(&shown);
        assert_eq!(shown["pub-1234-1"]["address"], "02:00:00:00:00:01");
        assert_eq!(shown["pub-1234-1"]["mtu"], 1400);
        assert!(shown["pub-1234-1"]["flags"].as_array().unwrap().contains(&"UP".into()));
        assert_eq!(shown["pub-1234-1"]["group"], "200");
        assert_eq!(shown["wg-1234-1"]["linkinfo"]["info_kind"], "tun");
        assert_eq!(shown["wg-1234-1"]["linkinfo"]["info_data"]["type"], "tun");
        let shown = ip(&format!("-n {GATEWAY} -d link"));
        assert_eq!(links_by_name(&shown)["pub-1-1"]["linkinfo"]["info_data"]["mode"], "bridge");
        let routes = ip(&format!("-n {GATEWAY} -6 route show proto 200"));
        let over: Vec<_> =
            routes.as_array().unwrap().iter().filter(|route| route["nhid"] == 0x1234_0001).collect();
        assert_eq!(over.len(), 1, "{routes}");
        assert_eq!(over[0]["dst"], "2001:db8:1234::/64");
        let routes = ip(&format!("-n {RESOURCE} -4 route show proto 200"));
        assert_eq!(routes.as_array().unwrap().len(), 4, "{routes}");
        let addresses = ip(&format!("-n {RESOURCE} -6 addr show pub-1234-1"));
        let flags = &addresses[0]["addr_info"][0];
        assert_eq!(
            (&flags["local"], &flags["nodad"], &flags["tentative"]),
            (&"fe80::1".into(), &true.into(), &serde_json::Value::Null)
        );
        run(&format!("ip netns exec {RESOURCE} ping -6 -c 1 -W 2 fe80::2%pub-1234-1"));
        assert!(run("ip netns list").contains(GATEWAY));
    });
}

#[test]
fn damage_of_every_kind_is_seen_and_repaired() {
    alone(|| {
        uplink();
        let mut node = Node::new();
        let desired = farm();
        node.converge(&desired);
        for damage in [
            "ip -n net-1234-1 link del pub-1234-1",
            "ip -n net-1234-1 link set pub-1234-1 down",
            "ip -n gw-1-1 link set to-1234-1 mtu 1300",
            "ip -n gw-1-1 link set pub-1-1 address 02:00:00:00:00:77",
            "ip -n gw-1-1 link set to-1234-1 down; ip -n gw-1-1 link set to-1234-1 name renamed",
            "ip -n net-1234-1 link del wg-1234-1",
            "ip -n net-1234-1 addr del fe80::1/64 dev pub-1234-1",
            "ip -n net-1234-1 addr add 192.0.2.9/32 dev wg-1234-1",
            "ip -n net-1234-1 route del 10.0.0.0/8 proto 200",
            "ip -n net-1234-1 -6 route add 2001:db8:9::/64 dev wg-1234-1 proto 200",
            "ip -n net-1234-1 -6 route replace 2001:db8:1234::/64 dev pub-1234-1 metric 1024 proto 200",
            "ip -n net-1234-1 -6 route add blackhole 2001:db8:9::/64 proto 200",
            "ip -n net-1234-1 -6 route add 2001:db8:9::/64 proto 200 nexthop via fe80::2 dev pub-1234-1 nexthop via fe80::3 dev pub-1234-1",
            "ip -n net-1234-1 -6 route append 2001:db8:1234::/64 dev pub-1234-1 metric 1024 proto 200",
            "ip -n gw-1-1 nexthop flush",
            "ip -n gw-1-1 nexthop add id 5 via fe80::9 dev to-1234-1 proto 200",
            "ip -n gw-1-1 nexthop add id 6 blackhole proto 200",
            "ip -n gw-1-1 neigh replace fe80::1 lladdr 02:00:00:00:00:09 dev to-1234-1 nud permanent",
            "ip -n gw-1-1 neigh add fe80::9 lladdr 02:00:00:00:00:09 dev to-1234-1 nud permanent",
            "ip netns exec gw-1-1 sysctl -qw net.ipv4.ip_forward=0",
            "ip link add wg-1234-1 type veth peer name other",
            "ip link add br-1234-1 type bridge",
            "ip netns del public",
            "ip netns del gw-1-1",
            "ip netns add net-2345-1",
            "touch /run/netns/net-2345-1",
            "umount -l /run/netns/gw-1-1",
        ] {
            damage.split(';').for_each(|command| drop(run(command)));
            let todo = node.converge(&desired);
            assert!(!todo.is_empty(), "not seen: {damage}");
        }
    });
}

/// What `ip` shows outside our namespaces, once it has come to rest: the state of a link follows its change.
fn others() -> [serde_json::Value; 5] {
    let look = || [ip("link"), ip("-6 route"), ip("addr"), ip("netns"), ip("-n mine -6 route")];
    let mut last = look();
    for _ in 0..50 {
        std::thread::sleep(Duration::from_millis(200));
        let now = look();
        if now == last {
            break;
        }
        last = now;
    }
    last
}

#[test]
fn removal_leaves_nothing_of_ours_and_everything_else() {
    alone(|| {
        uplink();
        for foreign in [
            "ip netns add mine",
            "ip link add foreign type veth peer name foreign1",
            "ip link set foreign group 200 up",
            "ip addr add 2001:db8:f::1/64 dev foreign nodad",
            "ip -6 route add 2001:db8:ff::/48 dev foreign proto 200",
            "ip -6 route add unreachable 2001:db8:fe::/48 proto 200",
            "ip -n mine link set lo up",
            "ip -n mine -6 route add unreachable 2001:db8:fd::/48 proto 200",
        ] {
            run(foreign);
        }
        let before = others();
        let mut node = Node::new();
        let nothing = node.observe();
        node.converge(&farm());
        run("ip -n net-1234-1 link add beside type veth peer name beside1");
        run("ip -n net-1234-1 -6 route add 2001:db8:c::/64 dev lo proto 201");
        run("ip -n net-1234-1 -6 route add 2001:db8:d::/64 dev lo proto 200 table 100");
        let rest = plan(&farm(), &node.observe());
        assert!(rest.is_empty(), "foreign things were taken for ours:\n{rest}");
        let mut desired = NodeState::default();
        desired.at(Netns::Host);
        node.converge(&desired);
        assert_eq!(node.observe(), nothing);
        for (now, then) in others().iter().zip(&before) {
            let each = |list: &serde_json::Value| list.as_array().unwrap().clone();
            for (now, then) in each(now).iter().zip(&each(then)) {
                assert_eq!(now, then);
            }
            assert_eq!(now, then);
        }
    });
}

#[test]
fn a_flushed_ruleset_comes_back_in_every_namespace_and_is_in_nothings_way() {
    alone(|| {
        uplink();
        let mut node = Node::new();
        let nothing = node.observe();
        node.converge(&farm());
        let flush = |name: &str| drop(run(&format!("ip netns exec {name} nft flush ruleset")));
        let all = || -> Vec<String> {
            farm().namespaces.keys().filter(|netns| **netns != Netns::Host).map(ToString::to_string).collect()
        };
        assert!(all().contains(&"public".to_owned()));
        all().iter().for_each(|name| flush(name));
        assert!(!plan(&farm(), &node.observe()).is_empty());
        node.converge(&farm());
        all().iter().for_each(|name| flush(name));
        let mut desired = NodeState::default();
        desired.at(Netns::Host);
        node.converge(&desired);
        assert_eq!(node.observe(), nothing);
    });
}

#[test]
fn an_empty_namespace_called_public_is_not_ours_for_its_name() {
    alone(|| {
        uplink();
        run("ip netns add public");
        let mut node = Node::new();
        assert!(!node.observe().namespaces.contains_key(&netns("public")));
        let report = node.apply(&plan(&farm(), &NodeState::default()));
        assert!(report.failures.iter().any(|failure| failure.error.to_string().contains("someone else's")));
        assert_eq!(ip("-n public link").as_array().unwrap().len(), 1);
    });
}

#[test]
fn a_namespace_called_public_that_someone_else_made_is_left_alone() {
    alone(|| {
        uplink();
        run("ip netns add public");
        run("ip -n public link add theirs type veth peer name theirs1");
        let before = ip("-n public link");
        let mut node = Node::new();
        assert!(!node.observe().namespaces.contains_key(&netns("public")));
        let report = node.apply(&plan(&farm(), &NodeState::default()));
        let public: Vec<_> =
            report.failures.iter().filter(|failure| failure.step.netns == netns("public")).collect();
        assert!(
            public.iter().all(|failure| failure.error.to_string().contains("someone else's")),
            "{public:?}"
        );
        assert!(public.iter().all(|failure| failure.error.hint().is_some()));
        assert_eq!(ip("-n public link"), before);
        // The other namespaces do not suffer, but for what needs a socket there.
        assert!(node.observe().namespaces[&netns(GATEWAY)].routes.len() > 3);
    });
}

/// What others put into a namespace of ours is told of and left alone, and none of it is in a state.
#[test]
fn foreign_things_among_ours_are_told_and_are_no_state() {
    alone(|| {
        uplink();
        let mut node = Node::new();
        let desired = farm();
        node.converge(&desired);
        let told = |node: &Node| {
            let all = node.0.foreign().iter();
            all.flat_map(|(netns, things)| things.iter().map(move |thing| format!("{netns}: {thing}")))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(&node), Vec::<String>::new());
        let before = node.observe();
        for theirs in [
            "ip -n net-1234-1 link add theirs type veth peer name theirs1",
            "ip -n net-1234-1 link set theirs up",
            "ip -n net-1234-1 addr add 192.0.2.1/24 dev theirs",
            "ip -n net-1234-1 route add 203.0.113.0/24 dev lo proto static",
            "ip -n net-1234-1 -6 route add 2001:db8:7::/48 dev lo proto 42",
            "ip netns exec net-1234-1 nft add table ip theirs",
            "ip netns exec gw-1-1 nft add table inet theirs",
            "ip netns add net-0fff-1",
            "ip netns add gw-01-1",
            "ip netns add net-of-theirs",
            "ip link add theirs2 type veth peer name theirs3",
            "ip route add 203.0.113.0/24 dev uplink proto static",
            "nft add table inet theirs",
        ] {
            run(theirs);
        }
        assert_eq!(node.observe(), before);
        assert_eq!(
            told(&node),
            [
                "gw-01-1: the namespace, which is not ours",
                "gw-1-1: table inet theirs",
                "net-0fff-1: the namespace, which is not ours",
                "net-1234-1: link theirs",
                "net-1234-1: link theirs1",
                "net-1234-1: route 203.0.113.0/24 of protocol 4",
                "net-1234-1: route 2001:db8:7::/48 of protocol 42",
                "net-1234-1: table ip theirs",
            ]
        );
        assert!(plan(&desired, &before).is_empty());
        run("ip -n net-1234-1 link del theirs");
        run("ip netns del gw-01-1");
        run("ip netns exec gw-1-1 nft flush ruleset");
        let only = [netns("gw-1-1")].into();
        node.0.observe(&sixfold_kernel::Scope::Only(only)).unwrap();
        assert_eq!(told(&node).len(), 6, "what was not looked at again is still told: {:?}", told(&node));
        node.observe();
        let left: Vec<_> =
            told(&node).into_iter().filter(|thing| !thing.starts_with("net-1234-1: ")).collect();
        assert_eq!(left, ["net-0fff-1: the namespace, which is not ours"]);
    });
}

/// A namespace that happens to be called `public` is told of, and no way into it is tried.
#[test]
fn a_foreign_namespace_called_public_is_told() {
    alone(|| {
        run("ip netns add public");
        let mut node = Node::new();
        assert_eq!(node.observe().namespaces.keys().collect::<Vec<_>>(), [&Netns::Host]);
        let told: Vec<_> =
            node.0.foreign().iter().map(|(netns, things)| (netns.to_string(), things.len())).collect();
        assert_eq!(told, [("public".to_owned(), 1)]);
    });
}

/// A link's own settings come back to what its namespace gives every link, and what none of ours has is switched off.
#[test]
fn settings_of_a_link_that_somebody_changed_are_set_again() {
    alone(|| {
        uplink();
        let mut node = Node::new();
        let mut desired = farm();
        for (name, value) in [("ipv6/conf/default/accept_ra", "0"), ("ipv4/conf/default/rp_filter", "0")] {
            desired.at(netns(GATEWAY)).sysctls.insert(SysctlName(format!("net/{name}")), value.into());
        }
        node.converge(&desired);
        let seen = node.observe();
        let of_links = |state: &NodeState| {
            let all = state.namespaces[&netns(GATEWAY)].sysctls.keys();
            all.filter(|name| name.link().is_some()).map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(of_links(&seen), Vec::<String>::new());
        for (setting, other) in [
            ("ipv6.conf.pub-1-1.accept_ra", "2"),
            ("ipv4.conf.to-1234-1.rp_filter", "1"),
            ("ipv4.conf.pub-1-1.proxy_arp", "1"),
            ("ipv6.conf.pub-1-1.proxy_ndp", "1"),
            ("ipv6.conf.to-1234-1.addr_gen_mode", "0"),
            // It takes addresses and routes along.
            ("ipv6.conf.pub-1-1.disable_ipv6", "1"),
        ] {
            run(&format!("ip netns exec {GATEWAY} sysctl -q -w net.{setting}={other}"));
            assert_eq!(
                of_links(&node.observe()),
                [format!("net/{}", setting.replace('.', "/"))],
                "{setting}"
            );
            let todo = node.converge(&desired);
            assert!(!todo.is_empty(), "{setting}");
            assert_eq!(node.observe(), seen, "{setting}");
        }
        // What nobody desires of a link is its own matter.
        run(&format!("ip netns exec {GATEWAY} sysctl -q -w net.ipv6.conf.pub-1-1.accept_redirects=0"));
        assert!(plan(&desired, &node.observe()).is_empty());
        // With a link that goes, its settings go.
        run(&format!("ip netns exec {GATEWAY} sysctl -q -w net.ipv6.conf.pub-1-1.accept_ra=2"));
        run(&format!("ip -n {GATEWAY} link del pub-1-1"));
        node.converge(&desired);
    });
}
