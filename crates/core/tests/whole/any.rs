//! Generated farms: every kind of node, slot and network, more than the two examples have.

use std::fmt::Write as _;

use proptest::prelude::*;

use crate::farm::Farm;

/// A node that is no slot's first holder: its `reach` and addresses, as lines of a farm file.
const KINDS: usize = 6;

/// What a farm of a sketch is like.
#[derive(Debug, Clone)]
struct FarmSketch {
    /// Kind and MTU of each node after the first, which is public in both families.
    nodes: Vec<(usize, u16)>,
    /// Slots 1, 2, ...
    slots: Vec<SlotSketch>,
    management: Vec<&'static str>,
    host_firewall: bool,
}

/// What a slot of a sketch is like.
#[derive(Debug, Clone)]
struct SlotSketch {
    /// The farmer gave it an IPv4 address.
    public: bool,
    /// Whatever other nodes are public in both families may hold it too.
    standbys: bool,
    /// And the first of these is the second next hop.
    ecmp: bool,
}

/// What a network of a sketch is like.
#[derive(Debug, Clone)]
struct NetworkSketch {
    /// Which nodes, by bit.
    nodes: u16,
    /// Which of all slots.
    exit: usize,
    /// Two bits for each node: how many workloads are on it.
    workloads: u32,
    /// Which workload, over UDP or TCP, which port.
    exposures: Vec<(usize, bool, u16)>,
    /// Whether it asks for an address of its own, and for what.
    own: usize,
}

fn farm() -> impl Strategy<Value = FarmSketch> {
    let nodes = prop::collection::vec(
        (prop_oneof![Just(0), 0..KINDS], prop::sample::select(vec![1360, 1400, 1500, 9000])),
        0..4,
    );
    // Beside private and foreign ones, a segment and a whole allocation: they bar gateways and workloads themselves.
    let prefixes = vec![
        "192.0.2.0/24",
        "192.0.2.0/25",
        "192.0.2.128/25",
        "192.168.7.0/24",
        "203.0.113.0/24",
        "2001:db8:a::/64",
        "2001:db8:b::/48",
        "2001:db8:fe::/48",
        "fd00::/8",
    ];
    let management = prop::sample::subsequence(prefixes, 0..5);
    let slot = any::<[bool; 3]>().prop_map(|[public, standbys, ecmp]| SlotSketch { public, standbys, ecmp });
    (nodes, prop::collection::vec(slot, 1..4), management, any::<bool>()).prop_map(
        |(nodes, slots, management, host_firewall)| FarmSketch { nodes, slots, management, host_firewall },
    )
}

fn network() -> impl Strategy<Value = NetworkSketch> {
    let exposures =
        prop::collection::vec((0..8_usize, any::<bool>(), prop::sample::select(vec![53, 80, 443])), 0..3);
    (1..u16::MAX, 0..8_usize, any::<u32>(), exposures, 0..4_usize).prop_map(
        |(nodes, exit, workloads, exposures, own)| NetworkSketch { nodes, exit, workloads, exposures, own },
    )
}

/// The files of one or two farms and one to three networks over them.
pub(crate) fn any_files() -> impl Strategy<Value = Vec<(String, String)>> {
    (prop::collection::vec(farm(), 1..3), prop::collection::vec(network(), 1..4)).prop_map(
        |(farms, networks)| {
            let names = ["alpha", "beta"];
            let (mut nodes, mut slots, mut files) = (Vec::new(), Vec::new(), Vec::new());
            for (at, farm) in farms.iter().enumerate() {
                let own: Vec<String> =
                    (0..=farm.nodes.len()).map(|node| format!("{}{node}", names[at])).collect();
                slots.extend((1..=farm.slots.len()).map(|slot| (names[at], slot)));
                files.push((format!("{}.toml", names[at]), farm_text(at, names[at], farm)));
                nodes.extend(own);
            }
            for (at, network) in networks.iter().enumerate() {
                let exit = slots[network.exit % slots.len()];
                files.push((format!("t{at}.toml"), network_text(at, network, &nodes, exit)));
            }
            files
        },
    )
}

/// The same, read and granted.
pub(crate) fn any_farm() -> impl Strategy<Value = Farm> {
    any_files().prop_map(|files| {
        let files: Vec<(&str, &str)> =
            files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        Farm::new(&files)
    })
}

fn farm_text(at: usize, name: &str, farm: &FarmSketch) -> String {
    let (p, q) = [("2001:db8:a:", "203.0.113."), ("2001:db8:b:", "198.51.100.")][at];
    let quoted: Vec<String> = farm.management.iter().map(|prefix| format!("\"{prefix}\"")).collect();
    let mut text = format!(
        "farm = \"{name}\"\nallocations = [\"{p}:/48\"]\nmanagement = [{}]\nhost_firewall = {}\n[upstream]\nnext_hop_v4 = \"{q}1\"\n",
        quoted.join(", "),
        farm.host_firewall
    );
    let nodes = [(0, 1500)].into_iter().chain(farm.nodes.iter().copied()).enumerate();
    for (node, (kind, mtu)) in nodes {
        let (v6, v4) = (format!("address = \"{p}:a{node}/64\""), format!("address_v4 = \"{q}1{node}/25\""));
        let reach = match kind {
            0 => format!("reach = \"public\"\n{v6}\n{v4}"),
            1 => format!("reach = \"public\"\n{v6}"),
            2 => format!("reach = \"public\"\n{v4}"),
            3 => "reach = \"hidden\"".to_owned(),
            4 => "reach = \"hidden\"\nfamilies = [\"ipv4\"]".to_owned(),
            _ => "reach = \"hidden\"\nfamilies = [\"ipv6\"]".to_owned(),
        };
        writeln!(text, "[[node]]\nname = \"{name}{node}\"\nmtu = {mtu}\n{reach}").unwrap();
    }
    let public = (1..).zip(&farm.nodes).filter(|(_, (kind, _))| *kind == 0);
    let standbys: String = public.map(|(node, _)| format!(", \"{name}{node}\"")).collect();
    for (slot, SlotSketch { public, standbys: has_standbys, ecmp }) in (1..).zip(&farm.slots) {
        let standbys = if *has_standbys { standbys.as_str() } else { "" };
        writeln!(text, "[[slot]]\nslot = {slot}\nholders = [\"{name}0\"{standbys}]").unwrap();
        if *ecmp && !standbys.is_empty() {
            writeln!(text, "ecmp = true").unwrap();
        }
        // Each in its own way, the third not at all.
        match slot {
            1 => writeln!(text, "bandwidth = \"100 Mbit/s\"\nblock_quota = 2").unwrap(),
            2 => writeln!(text, "ports = 2048\nbandwidth_of = {{ \"t0/web\" = \"64 kbit/s\" }}").unwrap(),
            _ => {}
        }
        if *public {
            writeln!(text, "public_v4 = \"{q}10{slot}/25\"\ndefault_v4 = \"{q}1\"").unwrap();
            // On the segment, and routed.
            match slot {
                1 => writeln!(text, "pool_v4 = [\"{q}111\", \"{q}221\"]").unwrap(),
                2 => writeln!(text, "pool_v4 = [\"{q}112\"]").unwrap(),
                _ => {}
            }
        }
    }
    // A farm with several slots has a node with a link for them alone.
    if farm.slots.len() > 1 {
        writeln!(text, "[[provision]]\nnode = \"{name}0\"\ngateway_nic = \"bond0.20\"\nlocal_v4 = {{ address = \"{q}20/25\", router = \"{q}1\" }}").unwrap();
        // By an address that it has, by one of theirs, and over both families.
        let services = [
            (format!("{p}:a0"), "tcp", 9000),
            (format!("{p}:5e"), "udp", 53),
            (format!("{q}30"), "tcp", 9000),
        ];
        let services = services.map(|(address, protocol, port)| {
            format!("{{ address = \"{address}\", protocol = \"{protocol}\", port = {port} }}")
        });
        writeln!(text, "services = [{}]", services.join(", ")).unwrap();
        writeln!(
            text,
            "nics = [{{ link = \"enp3s0f0v0\", slot = 2 }}, {{ link = \"ens7\", network = \"t0/web\" }}]"
        )
        .unwrap();
        // Another is at a home.
        if !farm.nodes.is_empty() {
            let (last, home) = (farm.nodes.len(), 9 + at);
            writeln!(text, "[[provision]]\nnode = \"{name}{last}\"\nlocal_v4 = {{ address = \"192.168.{home}.50/24\", router = \"192.168.{home}.1\" }}").unwrap();
        }
    }
    text
}

fn network_text(at: usize, network: &NetworkSketch, nodes: &[String], (farm, slot): (&str, usize)) -> String {
    let mut chosen: Vec<(usize, &String)> =
        nodes.iter().enumerate().filter(|(bit, _)| network.nodes & (1 << bit) != 0).collect();
    if chosen.is_empty() {
        chosen = vec![(0, &nodes[0])];
    }
    let quoted: Vec<String> = chosen.iter().map(|(_, name)| format!("\"{name}\"")).collect();
    let mut text = format!(
        "tenant = \"t{at}\"\nnetwork = \"web\"\nnodes = [{}]\nexit = {{ farm = \"{farm}\", slot = {slot} }}\nlocal_v4 = {}\n",
        quoted.join(", "),
        network.own == 0 && network.workloads.is_multiple_of(2)
    );
    let mut workloads = Vec::new();
    let mut tables = String::new();
    for (bit, name) in &chosen {
        for k in 0..(network.workloads >> (2 * bit)) & 3 {
            workloads.push(format!("w{bit}-{k}"));
            writeln!(tables, "[[workload]]\nname = \"w{bit}-{k}\"\nnode = \"{name}\"").unwrap();
            // The last of three, and a lone one of some networks.
            if k == 2 || (k == 0 && network.workloads % 5 == 1) {
                writeln!(tables, "ipv6_only = true").unwrap();
            }
            // Asked for where the farmer has it, and where nobody has.
            if (at, k) == (0, 0) {
                writeln!(tables, "nic = \"ens7\"").unwrap();
            }
        }
    }
    match (network.own, &workloads[..]) {
        (1, [.., last]) => writeln!(text, "own_v4 = \"{last}\"").unwrap(),
        (2, [first, ..]) => {
            writeln!(tables, "[[forward]]\nprotocol = \"tcp\"\nport = 443\nworkload = \"{first}\"").unwrap();
        }
        (3, [first, .., last]) => {
            for (protocol, port, workload, to) in [("tcp", 80, first, 443), ("udp", 53, last, 5353)] {
                let lines = format!("port = {port}\nworkload = \"{workload}\"\nto = {to}");
                writeln!(tables, "[[forward]]\nprotocol = \"{protocol}\"\n{lines}").unwrap();
            }
        }
        _ => {}
    }
    text.push_str(&tables);
    let mut exposures: Vec<(usize, bool, u16)> =
        network.exposures.iter().map(|(w, udp, port)| (w % workloads.len().max(1), *udp, *port)).collect();
    exposures.sort_unstable();
    exposures.dedup();
    for (workload, udp, port) in exposures {
        let Some(name) = workloads.get(workload) else { continue };
        let protocol = if udp { "udp" } else { "tcp" };
        writeln!(text, "[[expose]]\nworkload = \"{name}\"\nprotocol = \"{protocol}\"\nport = {port}")
            .unwrap();
    }
    text
}
