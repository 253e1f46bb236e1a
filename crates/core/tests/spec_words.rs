//! The words of every problem: one good farm and one good network, and for each case what is changed in them.

use sixfold_core::spec::{self, Problems};

const FARM: &str = r#"farm = "alpha"
allocations = ["2001:db8:a::/48"]
management = ["192.0.2.0/24"]
host_firewall = false

[upstream]
next_hop = "fe80::1"
next_hop_v4 = "203.0.113.1"

[[node]]
name = "ant"
reach = "public"
address = "2001:db8:a::a1/64"
address_v4 = "203.0.113.11/24"
mtu = 1500

[[node]]
name = "bee"
reach = "public"
address = "2001:db8:a::a2/64"
nic = "eth1"

[[node]]
name = "cat"
reach = "hidden"
families = ["ipv4"]

[[slot]]
slot = 1
holders = ["ant", "bee"]
public_v4 = "203.0.113.5/24"
default_v4 = "203.0.113.1"

[[slot]]
slot = 2
holders = ["bee"]
"#;

const NETWORK: &str = r#"tenant = "acme"
network = "web"
nodes = ["ant", "bee", "cat"]
exit = { farm = "alpha", slot = 1 }

[[workload]]
name = "db"
node = "ant"

[[workload]]
name = "app"
node = "ant"
number = 16
attachment = "namespace"

[[expose]]
workload = "db"
protocol = "tcp"
port = 443
"#;

/// What is wrong, and the edits that make it so, each of a text that stands once in one of the two files.
type Case = (&'static str, &'static [(&'static str, &'static str)]);

const SHAPE: &[Case] = &[
    ("no TOML", &[("farm = \"alpha\"\n", "farm = alpha\n")]),
    ("an open quote", &[("network = \"web\"", "network = \"web")]),
    ("a field twice", &[("host_firewall = false", "host_firewall = false\nhost_firewall = true")]),
    ("a misspelled field", &[("allocations =", "alocations =")]),
    ("a field that nothing resembles", &[("mtu = 1500", "color = \"red\"")]),
    ("a misspelled field of a slot", &[("holders = [\"bee\"]", "holder = [\"bee\"]")]),
    ("a misspelled table", &[("[[expose]]", "[[exposed]]")]),
    ("a field with control characters", &[("mtu = 1500", "\"\\u001b[2J\" = 1")]),
    ("a missing field", &[("node = \"ant\"\nnumber", "number")]),
    ("no exit", &[("exit = { farm = \"alpha\", slot = 1 }\n", "")]),
    ("a number for a text", &[("name = \"ant\"", "name = 5")]),
    ("a text for a number", &[("port = 443", "port = \"443\"")]),
    ("a text for a list", &[("holders = [\"bee\"]", "holders = \"bee\"")]),
    ("a text for a truth", &[("host_firewall = false", "host_firewall = \"no\"")]),
    ("one table for a list of tables", &[("[[expose]]", "[expose]")]),
    (
        "neither farm nor network",
        &[("tenant = \"acme\"\nnetwork = \"web\"", "tennant = \"acme\"\nnetwerk = \"web\"")],
    ),
];

const FARMS: &[Case] = &[
    ("host bits in an allocation", &[("a::/48", "a::1/48")]),
    ("an allocation that is too long", &[("a::/48", "a:100::/56")]),
    ("an allocation that is too short", &[("2001:db8:a::/48", "2001:d80::/28")]),
    ("an allocation that is not global", &[("2001:db8:a::/48", "fd00:a::/48")]),
    ("an allocation that is no prefix", &[("2001:db8:a::/48", "2001:db8:a::/129")]),
    ("an allocation that is IPv4", &[("2001:db8:a::/48", "198.51.100.0/24")]),
    (
        "overlapping allocations",
        &[
            ("[\"2001:db8:a::/48\"]", "[\n  \"2001:db8:a::/48\",\n  \"2001:db8::/40\",\n]"),
            ("slot = 1\nholders", "slot = 1\nprefix = \"2001:db8:a::/48\"\nholders"),
            ("slot = 2\nholders", "slot = 2\nprefix = \"2001:db8:a::/48\"\nholders"),
        ],
    ),
    ("slots that do not say which of two allocations", &[("a::/48\"", "a::/48\", \"2001:db8:c::/48\"")]),
    ("a slot of an allocation to be carved", &[("2001:db8:a::/48", "2001:db8::/40")]),
    ("a slot outside the allocations", &[("slot = 2\n", "slot = 2\nprefix = \"2001:db8:f::/48\"\n")]),
    ("a slot prefix that is no /48", &[("slot = 2\n", "slot = 2\nprefix = \"2001:db8:a:2000::/52\"\n")]),
    ("slot 0", &[("slot = 2\n", "slot = 0\n")]),
    ("slot 16", &[("slot = 2\n", "slot = 16\n")]),
    ("a slot twice", &[("slot = 2\n", "slot = 1\n")]),
    (
        "two nodes that claim one slot without order",
        &[("slot = 2\nholders = [\"bee\"]\n", "slot = 1\nholders = [\"bee\"]\n")],
    ),
    ("a slot without holders", &[("[\"bee\"]", "[]")]),
    ("an unknown holder", &[("[\"bee\"]", "[\"bea\"]")]),
    ("a hidden holder", &[("[\"bee\"]", "[\"bee\", \"cat\"]")]),
    ("a holder twice", &[("[\"bee\"]", "[\"bee\", \"bee\"]")]),
    ("fewer ports for each network than there are", &[("[\"bee\"]", "[\"bee\"]\nports = 512")]),
    ("ports that do not lie beside each other", &[("[\"bee\"]", "[\"bee\"]\nports = 3000")]),
    ("more ports than there are", &[("[\"bee\"]", "[\"bee\"]\nports = 65536")]),
    ("a quota of nothing", &[("[\"bee\"]", "[\"bee\"]\nblock_quota = 0\npool_quota = 0")]),
    ("a quota that is no number of things", &[("[\"bee\"]", "[\"bee\"]\nblock_quota = -1")]),
    ("two next hops and one holder", &[("[\"bee\"]", "[\"bee\"]\necmp = true")]),
    (
        "two next hops, one of which a node has",
        &[
            ("default_v4 = \"203.0.113.1\"\n", "default_v4 = \"203.0.113.1\"\necmp = true\n"),
            ("2001:db8:a::a2/64", "2001:db8:a:0:1000::2/64"),
        ],
    ),
    (
        "something provided at no node of the farm",
        &[("[[slot]]\nslot = 1", "[[provision]]\nnode = \"bea\"\n\n[[slot]]\nslot = 1")],
    ),
    (
        "what is provided at a node said twice",
        &[(
            "[[slot]]\nslot = 1",
            "[[provision]]\nnode = \"ant\"\n[[provision]]\nnode = \"ant\"\n[[slot]]\nslot = 1",
        )],
    ),
    (
        "a gateway's link that cannot be one",
        &[(
            "[[slot]]\nslot = 1",
            "[[provision]]\nnode = \"ant\"\ngateway_nic = \"no link\"\n[[slot]]\nslot = 1",
        )],
    ),
    (
        "a way out at a node whose router is elsewhere",
        &[(
            "[[slot]]\nslot = 1",
            "[[provision]]\nnode = \"ant\"\nlocal_v4 = { address = \"203.0.113.21/24\", router = \"192.0.2.1\" }\n[[slot]]\nslot = 1",
        )],
    ),
    (
        "a way out at a node by an address that a node has",
        &[(
            "[[slot]]\nslot = 1",
            "[[provision]]\nnode = \"cat\"\nlocal_v4 = { address = \"203.0.113.11/24\", router = \"203.0.113.1\" }\n[[slot]]\nslot = 1",
        )],
    ),
    (
        "a way out at a node without its router",
        &[(
            "[[slot]]\nslot = 1",
            "[[provision]]\nnode = \"ant\"\nlocal_v4 = { address = \"203.0.113.21/24\" }\n[[slot]]\nslot = 1",
        )],
    ),
    (
        "services of a node that nobody reaches, by ports of tunnels, and twice",
        &[(
            "[[slot]]\nslot = 1",
            "[[provision]]\nnode = \"cat\"\nservices = [{ address = \"203.0.113.30\", protocol = \"tcp\", port = 80 }]\n\n[[provision]]\nnode = \"ant\"\nservices = [\n\
             { address = \"2001:db8:a::50\", protocol = \"udp\", port = 4096 },\n\
             { address = \"2001:db8:a::50\", protocol = \"tcp\", port = 80 },\n\
             { address = \"2001:db8:a::50\", protocol = \"tcp\", port = 80 },\n\
             { address = \"2001:db8:a::a2\", protocol = \"tcp\", port = 80 },\n\
             { address = \"2001:db8:a:1000::50\", protocol = \"tcp\", port = 0 },\n\
             { address = \"fe80::50\", protocol = \"tcp\", port = 80 },\n]\n[[slot]]\nslot = 1",
        )],
    ),
    (
        "a service that cannot be read",
        &[(
            "[[slot]]\nslot = 1",
            "[[provision]]\nnode = \"ant\"\nservices = [{ address = \"here\", protocol = \"sctp\", port = 70000 }]\n[[slot]]\nslot = 1",
        )],
    ),
    (
        "links that serve two, and a slot with two links, and one that the node may not hold",
        &[(
            "[[slot]]\nslot = 1",
            "[[provision]]\nnode = \"ant\"\ngateway_nic = \"eth4\"\nnics = [\n\
             { link = \"eth2\", slot = 1 },\n\
             { link = \"eth2\", slot = 2 },\n\
             { link = \"eth3\", slot = 1 },\n\
             { link = \"eth0\", slot = 3 },\n\
             { link = \"eth4\", slot = 1 },\n]\n[[slot]]\nslot = 1",
        )],
    ),
    (
        "a link of a slot that cannot be read",
        &[(
            "[[slot]]\nslot = 1",
            "[[provision]]\nnode = \"ant\"\nnics = [{ link = \"no link\", slot = 16 }]\n[[slot]]\nslot = 1",
        )],
    ),
    (
        "links of networks: one that a slot has, by the name of a workload's own, of both and of nobody",
        &[(
            "[[slot]]\nslot = 1",
            "[[provision]]\nnode = \"bee\"\nnics = [\n\
             { link = \"eth2\", slot = 1 },\n\
             { link = \"eth2\", network = \"acme/web\" },\n\
             { link = \"eth0\", network = \"acme/web\" },\n\
             { link = \"eth3\", network = \"acme/web\", slot = 1 },\n\
             { link = \"eth4\" },\n\
             { link = \"eth5\", network = \"acme\" },\n]\n[[slot]]\nslot = 1",
        )],
    ),
    ("public IPv4 without default", &[("default_v4 = \"203.0.113.1\"\n", "")]),
    ("default without public IPv4", &[("public_v4 = \"203.0.113.5/24\"\n", "")]),
    ("a default on another subnet", &[("default_v4 = \"203.0.113.1\"", "default_v4 = \"198.51.100.1\"")]),
    (
        "a default that is the slot itself",
        &[("default_v4 = \"203.0.113.1\"", "default_v4 = \"203.0.113.5\"")],
    ),
    ("a slot's IPv4 that a node has", &[("203.0.113.5/24", "203.0.113.11/24")]),
    (
        "a pool that the slot's own address is in",
        &[("default_v4 = \"203.0.113.1\"\n", "default_v4 = \"203.0.113.1\"\npool_v4 = [\"203.0.113.5\"]\n")],
    ),
    (
        "a pool that the router is in",
        &[("default_v4 = \"203.0.113.1\"\n", "default_v4 = \"203.0.113.1\"\npool_v4 = [\"203.0.113.1\"]\n")],
    ),
    (
        "a pool that a node is in",
        &[("default_v4 = \"203.0.113.1\"\n", "default_v4 = \"203.0.113.1\"\npool_v4 = [\"203.0.113.11\"]\n")],
    ),
    (
        "an address twice in a pool",
        &[(
            "default_v4 = \"203.0.113.1\"\n",
            "default_v4 = \"203.0.113.1\"\npool_v4 = [\"203.0.113.20\", \"203.0.113.20\"]\n",
        )],
    ),
    (
        "a pool of a subnet's last address",
        &[(
            "default_v4 = \"203.0.113.1\"\n",
            "default_v4 = \"203.0.113.1\"\npool_v4 = [\"203.0.113.255\"]\n",
        )],
    ),
    (
        "a pool of tenants' own addresses",
        &[("default_v4 = \"203.0.113.1\"\n", "default_v4 = \"203.0.113.1\"\npool_v4 = [\"10.1.2.3\"]\n")],
    ),
    (
        "a pool of a group",
        &[("default_v4 = \"203.0.113.1\"\n", "default_v4 = \"203.0.113.1\"\npool_v4 = [\"224.0.0.5\"]\n")],
    ),
    (
        "a pool of a prefix",
        &[(
            "default_v4 = \"203.0.113.1\"\n",
            "default_v4 = \"203.0.113.1\"\npool_v4 = [\"203.0.113.32/28\"]\n",
        )],
    ),
    ("a pool without public IPv4", &[("[\"bee\"]", "[\"bee\"]\npool_v4 = [\"203.0.113.20\"]\n")]),
    ("public IPv4 without a length", &[("203.0.113.5/24", "203.0.113.5")]),
    ("a bandwidth in bytes", &[("[\"bee\"]", "[\"bee\"]\nbandwidth = \"100 MB/s\"")]),
    ("a bandwidth without a unit", &[("[\"bee\"]", "[\"bee\"]\nbandwidth = \"100\"")]),
    ("a bandwidth that is a number", &[("[\"bee\"]", "[\"bee\"]\nbandwidth = 100")]),
    ("a bandwidth of nothing", &[("[\"bee\"]", "[\"bee\"]\nbandwidth = \"0 Mbit/s\"")]),
    ("a bandwidth that no gateway has", &[("[\"bee\"]", "[\"bee\"]\nbandwidth = \"200 Gbit/s\"")]),
    (
        "a network's own bandwidth that is none",
        &[(
            "[\"bee\"]",
            "[\"bee\"]\n[slot.bandwidth_of]\n\"acme/web\" = \"1 Gbit/s\"\n\"acme/db\" = \"fast\"",
        )],
    ),
    (
        "a bandwidth of what is no network",
        &[("[\"bee\"]", "[\"bee\"]\nbandwidth_of = { acme = \"1 Gbit/s\" }")],
    ),
    (
        "a node twice",
        &[
            ("name = \"bee\"", "name = \"ant\""),
            ("[\"bee\"]", "[\"ant\"]"),
            ("\"ant\", \"bee\"]\np", "\"ant\"]\np"),
        ],
    ),
    ("a public node without an address", &[("address = \"2001:db8:a::a2/64\"\n", "")]),
    ("a public node with a link-local address", &[("2001:db8:a::a2/64", "fe80::a2/64")]),
    ("a public node with a unique local address", &[("2001:db8:a::a2/64", "fd00::a2/64")]),
    (
        "a node that is its subnet",
        &[(
            "address = \"2001:db8:a::a2/64\"\n",
            "address = \"2001:db8:a::a2/64\"\naddress_v4 = \"203.0.113.0/24\"\n",
        )],
    ),
    (
        "a node that is everyone in its subnet",
        &[(
            "address = \"2001:db8:a::a2/64\"\n",
            "address = \"2001:db8:a::a2/64\"\naddress_v4 = \"203.0.113.255/24\"\n",
        )],
    ),
    ("a hidden node with an address", &[("families = [\"ipv4\"]", "address_v4 = \"192.0.2.7/24\"")]),
    ("a public node with families", &[("nic = \"eth1\"", "families = [\"ipv6\"]")]),
    ("an unknown family", &[("families = [\"ipv4\"]", "families = [\"ipv5\"]")]),
    ("a hidden node that is silent", &[("families = [\"ipv4\"]", "families = []")]),
    ("an unknown reach", &[("\"hidden\"", "\"hiden\"")]),
    ("an address that a gateway has", &[("a::a2/64", "a:0:1000::1/64")]),
    ("an address that the upstream router has", &[("a::a2/64", "a::1/64")]),
    ("an address that another node has", &[("a::a2/64", "a::a1/64")]),
    ("an address that tenants are granted", &[("a::a2/64", "a:1abc::2/64")]),
    ("an address that no machine has", &[("203.0.113.11/24", "0.0.0.0/24")]),
    ("an address that is none", &[("a::a2/64", "a::g2/64")]),
    ("an MTU that is too small", &[("mtu = 1500", "mtu = 1359")]),
    ("an MTU that is none", &[("mtu = 1500", "mtu = 70000")]),
    ("a NIC that the kernel cannot name", &[("\"eth1\"", "\"enp0s31f6-uplink\"")]),
    ("a NIC that is a path", &[("\"eth1\"", "\"../eth1\"")]),
    ("host bits in a management prefix", &[("192.0.2.0/24", "192.0.2.1/24")]),
    ("a management prefix that is none", &[("192.0.2.0/24", "office")]),
    ("a next hop that is multicast", &[("fe80::1", "ff02::2")]),
    ("a next hop that is none", &[("next_hop_v4 = \"203.0.113.1\"", "next_hop_v4 = \"router\"")]),
    ("a farm named like a path", &[("farm = \"alpha\"\n", "farm = \"../alpha\"\n")]),
    ("a node with an accent", &[("name = \"bee\"", "name = \"béé\"")]),
    ("a node with a control character", &[("name = \"bee\"", "name = \"bee\\u001b[31m\"")]),
    ("an empty node name", &[("name = \"bee\"", "name = \"\"")]),
    (
        "a name that is too long",
        &[("name = \"bee\"", "name = \"b23456789012345678901234567890123456789012345678901234567890bcde\"")],
    ),
];

/// What the named kinds of names are wherever one may stand; the field is told by what stood there.
const NAMES: &[(&str, &str)] = &[
    ("a name of 300 characters", "<300>"),
    ("a name that is not ASCII", "n\u{f8}de"),
    ("a name that reads from right to left", "ab\u{202e}cd"),
    ("a name with an escape sequence", "\\u001b]0;owned\\u0007"),
    ("a name with a zero", "a\\u0000b"),
    ("a name that is a path", "../../etc/passwd"),
    ("a name that is a template", "net-%d"),
    ("a name that is an option", "--help"),
];

const NETWORKS: &[Case] = &[
    ("an unknown farm", &[("{ farm = \"alpha\"", "{ farm = \"omega\"")]),
    ("an unknown slot", &[("slot = 1 }", "slot = 3 }")]),
    ("an unknown slot prefix", &[("slot = 1 }", "slot = 1, prefix = \"2001:db8:c::/48\" }")]),
    ("an exit whose slot has no holder", &[("[\"bee\"]", "[]"), ("slot = 1 }", "slot = 2 }")]),
    ("an exit at slot 16", &[("slot = 1 }", "slot = 16 }")]),
    (
        "an exit that may be one of two",
        &[
            ("a::/48\"", "a::/48\", \"2001:db8:c::/48\""),
            ("slot = 1\nholders", "slot = 1\nprefix = \"2001:db8:a::/48\"\nholders"),
            ("slot = 2\nholders", "slot = 1\nprefix = \"2001:db8:c::/48\"\nholders"),
        ],
    ),
    ("an unknown node", &[("\"cat\"]", "\"cow\"]")]),
    ("a node of the network twice", &[("\"cat\"]", "\"cat\", \"ant\"]")]),
    ("no nodes", &[("nodes = [\"ant\", \"bee\", \"cat\"]", "nodes = []")]),
    ("a workload outside the network", &[("[\"ant\", \"bee\", \"cat\"]", "[\"bee\", \"cat\"]")]),
    ("a workload twice", &[("name = \"app\"", "name = \"db\"")]),
    ("a workload number twice", &[("name = \"db\"\n", "name = \"db\"\nnumber = 16\n")]),
    ("workload number 1", &[("number = 16", "number = 1")]),
    ("workload number 255", &[("number = 16", "number = 255")]),
    ("an attachment that is not offered", &[("\"namespace\"", "\"bridge\"")]),
    (
        "a NIC that two workloads ask for",
        &[
            (
                "node = \"ant\"\n\n[[workload]]\nname = \"app\"",
                "node = \"ant\"\nnic = \"eth3\"\n\n[[workload]]\nname = \"app\"",
            ),
            ("number = 16", "number = 16\nnic = \"eth3\""),
        ],
    ),
    ("a NIC by the name of a workload's own link", &[("number = 16", "number = 16\nnic = \"eth0\"")]),
    ("a NIC that cannot be one", &[("number = 16", "number = 16\nnic = \"no link\"")]),
    ("an exposed port 0", &[("port = 443", "port = 0")]),
    ("an exposed port past the last", &[("port = 443", "port = 65536")]),
    ("an exposed workload that is unknown", &[("workload = \"db\"", "workload = \"bd\"")]),
    (
        "an exposure twice",
        &[("port = 443", "port = 443\n\n[[expose]]\nworkload = \"db\"\nprotocol = \"tcp\"\nport = 443")],
    ),
    ("an own address for a workload that is unknown", &[("slot = 1 }\n", "slot = 1 }\nown_v4 = \"bd\"\n")]),
    (
        "an own address for a workload, and ports of it",
        &[
            ("slot = 1 }\n", "slot = 1 }\nown_v4 = \"db\"\n"),
            (
                "port = 443\n",
                "port = 443\n\n[[forward]]\nworkload = \"db\"\nprotocol = \"tcp\"\nport = 443\n",
            ),
        ],
    ),
    (
        "a forwarded port 0",
        &[("port = 443\n", "port = 443\n\n[[forward]]\nworkload = \"db\"\nprotocol = \"tcp\"\nport = 0\n")],
    ),
    (
        "a port forwarded to port 0",
        &[(
            "port = 443\n",
            "port = 443\n\n[[forward]]\nworkload = \"db\"\nprotocol = \"tcp\"\nport = 443\nto = 0\n",
        )],
    ),
    (
        "a port forwarded past the last",
        &[(
            "port = 443\n",
            "port = 443\n\n[[forward]]\nworkload = \"db\"\nprotocol = \"tcp\"\nport = 443\nto = 65536\n",
        )],
    ),
    (
        "a port forwarded to a workload that is unknown",
        &[("port = 443\n", "port = 443\n\n[[forward]]\nworkload = \"bd\"\nprotocol = \"tcp\"\nport = 443\n")],
    ),
    (
        "a port forwarded twice",
        &[(
            "port = 443\n",
            "port = 443\n\n[[forward]]\nworkload = \"db\"\nprotocol = \"tcp\"\nport = 443\n\n[[forward]]\nworkload = \"app\"\nprotocol = \"tcp\"\nport = 443\n",
        )],
    ),
    ("an unknown protocol", &[("\"tcp\"", "\"sctp\"")]),
    ("a tenant in capitals", &[("\"acme\"", "\"ACME\"")]),
    ("a network with a slash", &[("\"web\"", "\"web/1\"")]),
    (
        "everything at once",
        &[
            ("2001:db8:a::/48", "2001:db8:a::5/48"),
            ("192.0.2.0/24", "192.0.2.77/24"),
            ("mtu = 1500", "mtu = 576"),
            ("[\"bee\"]", "[\"cat\"]"),
            ("port = 443", "port = -1"),
            ("name = \"app\"", "name = \"db\""),
            ("\"cat\"]\nexit", "\"cat\", \"cat\"]\nexit"),
        ],
    ),
];

fn edited(edits: &[(&str, &str)]) -> [(String, String); 2] {
    let [mut farm, mut network] = [FARM, NETWORK].map(str::to_owned);
    for (old, new) in edits {
        assert_eq!(
            farm.matches(old).count() + network.matches(old).count(),
            1,
            "{old:?} does not stand there once"
        );
        farm = farm.replace(old, new);
        network = network.replace(old, new);
    }
    [("farm.toml".to_owned(), farm), ("web.toml".to_owned(), network)]
}

/// What is wrong with some files: each problem with what helps.
#[track_caller]
fn refused(title: &str, files: &[(String, String)]) -> Problems {
    hinted(spec::parse_all(files).expect_err(title))
}

#[track_caller]
fn hinted(problems: Problems) -> Problems {
    for problem in problems.iter() {
        assert!(!problem.hint.trim().is_empty(), "{problem}");
    }
    problems
}

fn words(cases: &[Case]) -> String {
    let mut told = String::new();
    for (title, edits) in cases {
        let problems = refused(title, &edited(edits));
        told += &format!("# {title}\n");
        for line in edits.iter().flat_map(|(_, new)| new.lines()).filter(|line| !line.is_empty()) {
            told += &format!("| {line}\n");
        }
        told += &format!("{problems}\n\n");
    }
    only_letters(&told);
    told
}

/// Nothing that a terminal would act on is in some words.
#[track_caller]
fn only_letters(told: &str) {
    let bad = |c: &char| c.is_control() && *c != '\n' || ('\u{202a}'..='\u{202e}').contains(c);
    assert_eq!(told.chars().find(bad), None, "{told:?}");
}

#[test]
fn the_two_files_are_good() {
    spec::parse_all(&edited(&[])).unwrap();
}

#[test]
fn words_about_shape() {
    insta::assert_snapshot!(words(SHAPE));
}

#[test]
fn words_about_farms() {
    insta::assert_snapshot!(words(FARMS));
}

#[test]
fn words_about_networks() {
    insta::assert_snapshot!(words(NETWORKS));
}

#[test]
fn words_about_names_wherever_they_stand() {
    let fields = [
        ("a farm", "farm = \"alpha\"\n", "farm = \"NAME\"\n"),
        ("a node", "name = \"cat\"", "name = \"NAME\""),
        ("a NIC", "\"eth1\"", "\"NAME\""),
        ("a tenant", "\"acme\"", "\"NAME\""),
        ("a workload", "name = \"app\"", "name = \"NAME\""),
        ("a network", "\"web\"", "\"NAME\""),
        ("a slot's holder", "[\"bee\"]", "[\"NAME\"]"),
        ("a node of a network", "\"cat\"]", "\"NAME\"]"),
        ("an exit's farm", "{ farm = \"alpha\"", "{ farm = \"NAME\""),
        ("an exposed workload", "workload = \"db\"", "workload = \"NAME\""),
    ];
    let mut told = String::new();
    for (title, name) in NAMES {
        for (of, old, new) in fields {
            let new = new.replace("NAME", name).replace("<300>", &"n".repeat(300));
            let problems = refused(title, &edited(&[(old, &new)]));
            told += &format!("# {title}: {of}\n{problems}\n\n");
        }
    }
    only_letters(&told);
    insta::assert_snapshot!(told);
}

#[test]
fn words_about_files_that_are_too_much() {
    let farm = |nodes: std::ops::Range<u32>| {
        let node = |at| {
            let (high, low) = (at / 65_536, at % 65_536);
            format!(
                "[[node]]\nname=\"n{at}\"\nreach=\"public\"\naddress=\"2001:db8:b:{high:x}::{low:x}/64\"\n"
            )
        };
        let head = "farm = \"alpha\"\nallocations = [\"2001:db8:a::/48\"]\n";
        let slot = "[[slot]]\nslot = 1\nholders = [\"n1\"]\n";
        format!("{head}{}{slot}", nodes.map(node).collect::<String>())
    };
    let network = |nodes: std::ops::Range<u32>| {
        let nodes: Vec<String> = nodes.map(|at| format!("\"n{at}\"")).collect();
        NETWORK
            .split("[[workload]]")
            .next()
            .unwrap()
            .replace("[\"ant\", \"bee\", \"cat\"]", &format!("[{}]", nodes.join(", ")))
    };
    let told = |farm: String, network: String| {
        let files = [("farm.toml".to_owned(), farm), ("web.toml".to_owned(), network)];
        let said = refused("too much", &files).to_string();
        only_letters(&said);
        assert!(said.lines().count() <= 101 && said.len() < 20_000, "{said}");
        let (lines, last) = (said.lines().take(8), said.lines().skip(8).last());
        lines.chain(last.map(|_| "...")).chain(last).collect::<Vec<_>>().join("\n")
    };
    let text = |bytes: &[u8]| {
        let error = spec::text_of(bytes.to_vec(), "a\u{1b}[2J.toml").unwrap_err();
        hinted(Problems::of_shape(vec![error]).unwrap()).to_string()
    };
    let deep = format!("farm = {}", "[".repeat(10_000));
    let dotted = format!("{} = 1\n", vec!["a"; 10_000].join("."));
    let wide = format!("farm = \"{}\"\n", "\\u001b".repeat(100_000));
    let field = format!("{FARM}\n{} = 1\n", "x".repeat(500_000));
    insta::assert_snapshot!(
        [
            ("10,000 nodes in one network", told(farm(1..4001), network(1..10_001))),
            ("10,000 nodes in one network that knows no farm", told(FARM.to_owned(), network(1..10_001))),
            ("10,000 nodes in one farm", told(farm(1..10_001), network(1..3))),
            ("a file of 50 MB", text(&vec![b'#'; 50 << 20])),
            ("a file that is no text", text(b"farm = \"alpha\"\nnode = \"\xff\xfe\"\n")),
            ("an image", text(b"\x89PNG\r\n\x1a\n\0\0\0")),
            ("ten thousand lists in each other", told(deep, network(1..3))),
            ("ten thousand tables in each other", told(dotted, network(1..3))),
            ("a name of 100,000 escapes", told(wide, network(1..3))),
            ("a field of 500,000 letters", told(field, network(1..3))),
        ]
        .map(|(title, told)| format!("# {title}\n{told}\n"))
        .join("\n")
    );
}

#[test]
fn words_about_several_files() {
    let file = |name: &str, text: String| (name.to_owned(), text);
    let beta = FARM.replace("\"alpha\"", "\"beta\"").replace("ant", "fox");
    let told = |files: &[(String, String)]| refused("several files", files).to_string();
    let other = [file("alpha.toml", FARM.to_owned()), file("beta.toml", beta)];
    let twice = [
        file("farm.toml", FARM.to_owned()),
        file("a.toml", NETWORK.to_owned()),
        file("b.toml", NETWORK.to_owned()),
    ];
    let near = |text: &str| {
        let node = format!("[[node]]\nname = \"fox\"\nreach = \"public\"\n{text}\n");
        told(&[file("alpha.toml", FARM.to_owned()), file("beta.toml", format!("farm = \"beta\"\n{node}"))])
    };
    let neighbours = [
        near("address = \"2001:db8:a:0:1000::1/64\""),
        near("address = \"2001:db8:a:1abc::5/64\""),
        near("address_v4 = \"203.0.113.5/24\""),
    ];
    let farm_twice =
        [file("a.toml", "farm = \"a\"\n".to_owned()), file("b.toml", "farm = \"a\"\n".to_owned())];
    let shapes = [file("a.toml", "farm = 1\n".to_owned()), file("b.toml", "tenant = \"t\"\n".to_owned())];
    let large = [file("large.toml", "# large\n".repeat(1 << 17) + "#")];
    insta::assert_snapshot!(format!(
        "# two farms that claim the same\n{}\n\n# a network twice\n{}\n\n# nodes of one farm with addresses of another\n{}\n\n# a farm twice\n{}\n\n# two shapes\n{}\n\n# a file that is too large\n{}",
        told(&other),
        told(&twice),
        neighbours.join("\n"),
        told(&farm_twice),
        told(&shapes),
        told(&large)
    ));
}
