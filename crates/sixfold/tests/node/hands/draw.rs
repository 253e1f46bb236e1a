//! What a hand may do to one thing of ours: drawn from what is there, and typed as a person would.
//!
//! Each damage says what it touches as paths, such as `net-1234-1/link/wg-1234-1/`: two damages meet if a path of one
//! leads to a path of the other. Those that do not meet can be done together, and each be awaited for itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::seen::{Fact, Facts, Key, run, tried};

/// Classes of things, as the promise names them.
pub(crate) const CLASSES: [&str; 10] =
    ["link", "address", "route", "nexthop", "neighbour", "rule", "element", "peer", "sysctl", "namespace"];

/// Numbers that look random and come again from the same seed (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn one_of<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

/// One thing of ours and what is done to it.
#[derive(Debug)]
pub(crate) struct Damage {
    pub(crate) class: &'static str,
    /// The command line, or how to find it: a rule has another handle each time.
    pub(crate) line: String,
    /// What must be seen again as it was.
    pub(crate) keys: BTreeSet<Key>,
    paths: BTreeSet<String>,
}

impl Damage {
    /// Whether both touch the same.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        let leads =
            |one: &String, other: &String| one.starts_with(other.as_str()) || other.starts_with(one.as_str());
        self.paths.iter().any(|one| other.paths.iter().any(|other| leads(one, other)))
    }

    /// Does it.
    pub(crate) fn strike(&self) {
        let line = match self.line.strip_prefix("a rule of ") {
            Some(place) => delete_rule(place),
            None => self.line.clone(),
        };
        if let Err(said) = tried(&line) {
            panic!("{line}: {said}");
        }
    }
}

/// The command that deletes the rule at `NETNS CHAIN NUMBER`, by the handle it has now.
fn delete_rule(place: &str) -> String {
    let words: Vec<&str> = place.split(' ').collect();
    let [netns, chain, number] = words[..] else { panic!("{place}") };
    let text = run(&format!("ip netns exec {netns} nft -j list chain inet sixfold {chain}"));
    let all: Value = serde_json::from_str(&text).unwrap();
    let mut rules = all["nftables"].as_array().unwrap().iter().filter_map(|one| one.get("rule"));
    let handle = &rules.nth(number.parse().unwrap()).expect(place)["handle"];
    format!("ip netns exec {netns} nft delete rule inet sixfold {chain} handle {handle}")
}

/// What is there, by class.
pub(crate) struct Stock<'a> {
    facts: &'a Facts,
    by_class: BTreeMap<&'static str, Vec<(&'a Key, &'a Fact)>>,
    /// Other ends of veths, both ways.
    ends: BTreeMap<(String, String), (String, String)>,
}

impl<'a> Stock<'a> {
    /// Sorts what was seen. The namespaces that are `spared` are not deleted: there are things of others in them.
    pub(crate) fn of(facts: &'a Facts, spared: &[&str], is_ours: impl Fn(&Key, &Fact) -> bool) -> Self {
        let mut by_class: BTreeMap<&'static str, Vec<_>> = BTreeMap::new();
        let mut namespaces = BTreeSet::new();
        for (key, fact) in facts.iter().filter(|(key, fact)| is_ours(key, fact)) {
            let word = key.1.split(' ').next().unwrap();
            let class =
                CLASSES.into_iter().find(|class| *class == word || (word == "chain" && *class == "rule"));
            let has_rules = word != "chain" || fact.value.contains('\n');
            if let Some(class) = class.filter(|_| has_rules) {
                by_class.entry(class).or_default().push((key, fact));
            }
            if !spared.contains(&key.0.as_str()) && namespaces.insert(&key.0) {
                by_class.entry("namespace").or_default().push((key, fact));
            }
        }
        Self { facts, by_class, ends: ends(facts) }
    }

    /// Something of that class, damaged in one of the ways there are for it; `None` if it cannot be.
    pub(crate) fn draw(&self, class: &'static str, dice: &mut Dice) -> Option<Damage> {
        let of = self.by_class.get(class)?;
        let (key, fact) = of[dice.below(of.len())];
        let netns = key.0.as_str();
        let words: Vec<&str> = key.1.split(' ').collect();
        let inside = format!("ip netns exec {netns}");
        let line = match (class, &words[..]) {
            ("link", [_, "lo"]) => format!("ip -n {netns} link set lo down"),
            ("link", [_, link]) => {
                let veth_or_macvlan = !link.starts_with("wg-");
                let mut ways = vec!["del", "down", "mtu"];
                ways.extend(veth_or_macvlan.then_some("address"));
                match dice.one_of(&ways) {
                    "del" => format!("ip -n {netns} link del {link}"),
                    "down" => format!("ip -n {netns} link set {link} down"),
                    "mtu" => format!("ip -n {netns} link set {link} mtu 1290"),
                    _ => format!("ip -n {netns} link set {link} address 02:00:00:00:ab:cd"),
                }
            }
            ("address", [_, link, address]) => format!("ip -n {netns} addr del {address} dev {link}"),
            ("route", [_, destination, metric]) => match dice.below(3) {
                0 => format!("ip -n {netns} {} route del {destination} metric {metric}", family(destination)),
                way => {
                    let (of, protocol) = (family(destination), if way == 1 { "200" } else { "boot" });
                    format!(
                        "ip -n {netns} {of} route replace blackhole {destination} metric {metric} proto {protocol}"
                    )
                }
            },
            ("nexthop", [_, id]) => format!("ip -n {netns} nexthop del id {id}"),
            ("neighbour", [_, link, address]) => match dice.below(3) {
                0 => format!("ip -n {netns} neigh del {address} dev {link}"),
                way => {
                    let state = if way == 1 { "permanent" } else { "reachable" };
                    format!(
                        "ip -n {netns} neigh replace {address} dev {link} lladdr 02:00:00:00:ab:cd nud {state}"
                    )
                }
            },
            ("rule", [_, chain]) => match dice.below(3) {
                0 => format!("{inside} nft insert rule inet sixfold {chain} counter accept"),
                1 => format!("{inside} nft flush chain inet sixfold {chain}"),
                _ => {
                    let number = dice.below(fact.value.lines().count() - 1);
                    format!("a rule of {netns} {chain} {number}")
                }
            },
            ("element", [_, set, element @ ..]) => {
                format!("{inside} nft delete element inet sixfold {set} {{ {} }}", element.join(" "))
            }
            ("peer", [_, device, peer]) => match dice.below(3) {
                0 => format!("wg set {device} peer {peer} remove"),
                1 => format!("wg set {device} peer {peer} allowed-ips 198.51.100.0/24"),
                _ => format!("wg set {device} peer {peer} persistent-keepalive 7"),
            },
            ("sysctl", [_, name]) => {
                let other = if fact.value == "0" { "1" } else { "0" };
                format!("{inside} sysctl -q -w {}={other}", name.replace('/', "."))
            }
            ("namespace", _) => format!("ip netns del {netns}"),
            _ => panic!("{class} {key:?}"),
        };
        let paths = self.paths(class, key, fact);
        let keys = self.keys_under(&paths);
        Some(Damage { class, line, keys, paths })
    }

    fn paths(&self, class: &str, key: &Key, fact: &Fact) -> BTreeSet<String> {
        let netns = &key.0;
        match class {
            "link" => self.link_paths(netns, fact.link.as_deref().unwrap_or_default()),
            "namespace" => {
                let inside = |other: &&(String, String)| other.0 == *netns;
                let ends = self.ends.iter().filter(|(one, _)| inside(one)).map(|(_, other)| other);
                let mut paths: BTreeSet<String> =
                    ends.map(|(netns, link)| format!("{netns}/link/{link}/")).collect();
                paths.insert(format!("{netns}/"));
                // Where the sockets of all devices live.
                let devices =
                    self.facts.keys().filter(|(_, what)| netns == "public" && what.starts_with("device"));
                paths.extend(devices.map(|(netns, _)| format!("{netns}/link/wg-")));
                paths
            }
            // It takes the routes over it along, as a link's last IPv4 address does.
            "address" if !key.1.contains(':') => {
                [format!("{netns}/link/{}/", fact.link.as_deref().unwrap_or_default())].into()
            }
            "nexthop" => self.link_paths(netns, fact.link.as_deref().unwrap_or_default()),
            // One may write others too: `all` writes every link's.
            "sysctl" => [format!("{netns}/sysctl/")].into(),
            _ => [path(key, fact)].into(),
        }
    }

    fn link_paths(&self, netns: &str, link: &str) -> BTreeSet<String> {
        let end = (netns.to_owned(), link.to_owned());
        let both = [Some(&end), self.ends.get(&end)].into_iter().flatten();
        both.map(|(netns, link)| format!("{netns}/link/{link}/")).collect()
    }

    fn keys_under(&self, paths: &BTreeSet<String>) -> BTreeSet<Key> {
        let under =
            |key: &Key, fact: &Fact| paths.iter().any(|above| path(key, fact).starts_with(above.as_str()));
        self.facts.iter().filter(|(key, fact)| under(key, fact)).map(|(key, _)| key.clone()).collect()
    }
}

/// Where a fact is.
fn path((netns, what): &Key, fact: &Fact) -> String {
    match &fact.link {
        Some(link) => format!("{netns}/link/{link}/{what}/"),
        None => format!("{netns}/{}/", what.replacen(' ', "/", 1)),
    }
}

fn family(destination: &str) -> &'static str {
    if destination.contains(':') { "-6" } else { "-4" }
}

/// By the names that links have: `to-NIB-n` and `pub-NIB-n`, `port-K` and `eth0`.
fn ends(facts: &Facts) -> BTreeMap<(String, String), (String, String)> {
    let mut ends = BTreeMap::new();
    let links = facts.iter().filter_map(|((netns, _), fact)| Some((netns, fact.link.as_deref()?)));
    for (netns, link) in links {
        let other = match (link.split_once('-'), netns.split_once('-')) {
            (Some(("to", resource)), _) => (format!("net-{resource}"), format!("pub-{resource}")),
            (Some(("port", number)), Some((_, resource))) => {
                (format!("load-{resource}-{number}"), "eth0".to_owned())
            }
            _ => continue,
        };
        let this = (netns.clone(), link.to_owned());
        ends.insert(other.clone(), this.clone());
        ends.insert(this, other);
    }
    ends
}
