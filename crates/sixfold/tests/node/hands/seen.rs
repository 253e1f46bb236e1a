//! What `ip -j`, `nft -j`, `wg` and `/proc/sys` show of a node, as single facts that can be compared one by one: without
//! what differs from one life of an object to the next (indices, handles, counters, times).

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;

use serde_json::Value;
use sixfold_core::state::OUR_SYSCTLS;

/// Processes that look at the same time.
const EYES: usize = 4;

/// One thing that is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) value: String,
    /// The link that it hangs on.
    pub(crate) link: Option<String>,
    /// Made by the agent, going by the kernel's own marks.
    pub(crate) ours: bool,
}

/// Where, and what: `("net-1234-1", "address wg-1234-1 fe80::1/64")`.
pub(crate) type Key = (String, String);

/// Everything that was seen.
pub(crate) type Facts = BTreeMap<Key, Fact>;

/// Runs a command line without quotes and gives what it prints.
pub(crate) fn run(command: &str) -> String {
    tried(command).unwrap_or_else(|said| panic!("{command}: {said}"))
}

/// The same, if it succeeds; else what it says.
pub(crate) fn tried(command: &str) -> Result<String, String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output().expect(command);
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// The namespaces there are, but for other people's.
pub(crate) fn namespaces() -> Vec<String> {
    let all = run("ip netns list");
    let names = all.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "theirs").map(str::to_owned).collect()
}

/// All facts of these namespaces.
pub(crate) fn look(netnss: &[String]) -> Facts {
    let parts: Vec<Facts> = thread::scope(|scope| {
        let looking: Vec<_> = (0..EYES)
            .map(|eye| {
                let mine = netnss.iter().skip(eye).step_by(EYES);
                scope.spawn(move || mine.flat_map(|netns| look_into(netns)).collect::<Facts>())
            })
            .collect();
        looking.into_iter().map(|eye| eye.join().unwrap()).collect()
    });
    let mut facts: Facts = parts.into_iter().flatten().collect();
    facts.extend(devices().into_iter().filter(|((netns, _), _)| netnss.contains(netns)));
    facts
}

/// Between the answers to the questions below.
const END: &str = "====";

fn look_into(netns: &str) -> Facts {
    let sysctls: Vec<&str> = OUR_SYSCTLS.into_iter().filter(|name| !name.starts_with("net/bridge")).collect();
    let script = format!(
        "ip -j -d -N link; echo {END}; ip -j -N addr; echo {END}; ip -j -N -4 route; echo {END}; \
         ip -j -N -6 route; echo {END}; ip -j -N nexthop; echo {END}; ip -j -N neigh show nud permanent; \
         echo {END}; nft -j list table inet sixfold 2>/dev/null; echo {END}; cd /proc/sys; grep -H . {}; true",
        sysctls.join(" ")
    );
    let output = Command::new("ip").args(["netns", "exec", netns, "sh", "-c", &script]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let parts: Vec<&str> = text.split(END).collect();
    // A namespace that is gone, or goes while it is looked at, has no facts.
    let [links, addresses, routes_v4, routes, nexthops, neighbours, table, sysctls] = parts[..] else {
        return Facts::new();
    };
    let mut found = Found { netns, facts: Facts::new() };
    list(links).iter().for_each(|link| found.link(link));
    list(addresses).iter().for_each(|link| found.addresses(link));
    list(routes_v4).iter().chain(&list(routes)).for_each(|route| found.route(route));
    list(nexthops).iter().for_each(|nexthop| found.nexthop(nexthop));
    list(neighbours).iter().for_each(|neighbour| found.neighbour(neighbour));
    found.table(table);
    for (name, value) in sysctls.lines().filter_map(|line| line.split_once(':')) {
        found.put(format!("sysctl {name}"), value.to_owned(), None, true);
    }
    found.facts
}

fn list(text: &str) -> Vec<Value> {
    let text = text.trim();
    if text.is_empty() { Vec::new() } else { serde_json::from_str(text).expect(text) }
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

struct Found<'a> {
    netns: &'a str,
    facts: Facts,
}

impl Found<'_> {
    fn put(&mut self, what: String, value: String, link: Option<String>, ours: bool) {
        self.facts.insert((self.netns.to_owned(), what), Fact { value, link, ours });
    }

    fn link(&mut self, link: &Value) {
        let name = word(&link["ifname"]);
        let up = link["flags"].as_array().unwrap().contains(&"UP".into());
        let (kind, shape) = (&link["linkinfo"]["info_kind"], &link["linkinfo"]["info_data"]);
        // The number of a namespace is another in its next life.
        let alias = word(&link["ifalias"]);
        let alias = alias.split(" inode=").next().unwrap_or_default();
        let value = format!(
            "{} up={up} mtu={} {} group={} {}{} {alias}",
            word(kind),
            link["mtu"],
            word(&link["address"]),
            word(&link["group"]),
            word(&shape["mode"]),
            word(&shape["type"]),
        );
        let ours = word(&link["group"]) == "200";
        self.put(format!("link {name}"), value, Some(name), ours);
    }

    fn addresses(&mut self, link: &Value) {
        let name = word(&link["ifname"]);
        for address in link["addr_info"].as_array().into_iter().flatten() {
            let what = format!("address {name} {}/{}", word(&address["local"]), address["prefixlen"]);
            let ours = word(&address["scope"]) != "254"; // the loopback's own
            self.put(what, word(&address["nodad"]), Some(name.clone()), ours);
        }
    }

    fn route(&mut self, route: &Value) {
        let kind = word(&route["type"]);
        let ours = word(&route["protocol"]) == "200";
        // The kernel's own have the same destination on every link.
        let on = if ours { String::new() } else { format!(" {}", word(&route["dev"])) };
        let key = format!("route {} {}{on}", word(&route["dst"]), word(&route["metric"]));
        let by = &route["via"]["host"];
        let by = if by.is_null() { &route["gateway"] } else { by };
        let value = format!("{kind} by={} dev={} nhid={}", word(by), word(&route["dev"]), route["nhid"]);
        let link = Some(word(&route["dev"])).filter(|link| !link.is_empty());
        self.put(key, value, link, ours);
    }

    fn nexthop(&mut self, nexthop: &Value) {
        let link = word(&nexthop["dev"]);
        let value = format!("by={} dev={link}", word(&nexthop["gateway"]));
        self.put(format!("nexthop {}", nexthop["id"]), value, Some(link), true);
    }

    fn neighbour(&mut self, neighbour: &Value) {
        let link = word(&neighbour["dev"]);
        let what = format!("neighbour {link} {}", word(&neighbour["dst"]));
        self.put(what, word(&neighbour["lladdr"]), Some(link), true);
    }

    fn table(&mut self, text: &str) {
        let text = text.trim();
        let all: Value = if text.is_empty() { Value::Null } else { serde_json::from_str(text).expect(text) };
        let mut rules: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for one in all["nftables"].as_array().into_iter().flatten() {
            if let Some(chain) = one.get("chain") {
                let value = format!("{} {} {}", chain["type"], chain["hook"], chain["prio"]);
                rules.entry(word(&chain["name"])).or_default().insert(0, value);
            } else if let Some(set) = one.get("set").or_else(|| one.get("map")) {
                let name = word(&set["name"]);
                self.put(format!("set {name}"), format!("{} {}", set["type"], set["map"]), None, true);
                for element in set["elem"].as_array().into_iter().flatten() {
                    self.put(format!("element {name} {}", spelled(element)), String::new(), None, true);
                }
            } else if let Some(rule) = one.get("rule") {
                let mut expressions = rule["expr"].clone();
                forget_counts(&mut expressions);
                let text = format!("{} {expressions}", rule["comment"]);
                rules.entry(word(&rule["chain"])).or_default().push(text);
            }
        }
        for (chain, rules) in rules {
            self.put(format!("chain {chain}"), rules.join("\n"), None, true);
        }
    }
}

/// An element as one types it: without its own counter or share, and that of a map with what it leads to.
fn spelled(element: &Value) -> String {
    if let Some(with) = element.get("elem") {
        return spelled(&with["val"]);
    }
    if let Some([key, value]) = element.as_array().map(Vec::as_slice) {
        return format!("{} : {}", spelled(key), spelled(value));
    }
    if let Some([first, last]) = element.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        return format!("{}-{}", word(first), word(last));
    }
    if let Some(prefix) = element.get("prefix") {
        return format!("{}/{}", word(&prefix["addr"]), prefix["len"]);
    }
    match element.get("concat").and_then(Value::as_array) {
        Some(parts) => parts.iter().map(spelled).collect::<Vec<_>>().join(" . "),
        // A link is not to be taken for a word of nft's.
        None if element.as_str().is_some_and(|name| name.starts_with("to-")) => element.to_string(),
        None => word(element),
    }
}

fn forget_counts(value: &mut Value) {
    match value {
        Value::Array(parts) => parts.iter_mut().for_each(forget_counts),
        Value::Object(parts) => {
            if let Some(counter) = parts.get_mut("counter") {
                *counter = Value::Null;
            }
            parts.values_mut().for_each(forget_counts);
        }
        _ => {}
    }
}

/// Keys, ports and peers by `wg`. The private key that it tells is not taken along.
fn devices() -> Facts {
    let mut facts = Facts::new();
    // While a device comes or goes, `wg` may fail over it: then there is none, for now.
    let text = tried("wg show all dump").unwrap_or_default();
    for line in text.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let name = columns[0];
        let netns = format!("net-{}", name.strip_prefix("wg-").unwrap_or(name));
        let (what, value) = match columns[..] {
            [_, _private, public, port, mark] => {
                (format!("device {name}"), format!("{public} port={port} fwmark={mark}"))
            }
            [_, peer, preshared, endpoint, allowed, _, _, _, keepalive] => {
                let mut prefixes: Vec<&str> = allowed.split(',').collect();
                prefixes.sort_unstable();
                let secret = preshared != "(none)";
                let value = format!("{endpoint} {} keepalive={keepalive} psk={secret}", prefixes.join(","));
                (format!("peer {name} {peer}"), value)
            }
            _ => panic!("a line of {} columns", columns.len()),
        };
        let link = Some(name.to_owned());
        facts.insert((netns, what), Fact { value, link, ours: true });
    }
    facts
}
