//! A place of a lab as `ip -j`, `nft -j`, `wg show`, `find` and `/proc` tell of it, without what differs between two
//! makings of the same thing: numbers of links and rules, counters, times, numbers of sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

use crate::ground::Up;

const SCRIPT: &str = include_str!("dump.sh");

/// Fields that say nothing of what there is: the kernel's own numbers, counters, timers, how often something was granted.
const PASSING: [&str; 15] = [
    "ifindex",
    "link_index",
    "link_netnsid",
    "handle",
    "packets",
    "bytes",
    "metainfo",
    "revision",
    "generation",
    "gc_timer",
    "hello_timer",
    "tcn_timer",
    "topology_change_timer",
    // Both follow the carrier, which is in the flags, when the kernel comes to look at it.
    "operstate",
    "qdisc",
];

/// Sections by name; the lines of each, sorted but for a ruleset, in which the order matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Dump {
    sections: BTreeMap<String, Vec<String>>,
    /// Keys put aside: the one thing that stays of what is removed, for a day.
    retired: BTreeSet<String>,
}

impl Dump {
    /// Of a node, or of a place around the nodes with all other such places.
    pub(super) fn of(lab: &Up, place: &str) -> Self {
        let mut dump = Self::default();
        let (mut section, mut text) = (String::new(), String::new());
        for line in lab.says(place, &["sh", "-c", SCRIPT]).lines().chain(["@@ "]) {
            match line.strip_prefix("@@ ") {
                None => writeln!(text, "{line}").unwrap(),
                Some(next) => {
                    let before = std::mem::replace(&mut section, next.to_owned());
                    dump.add(before, &std::mem::take(&mut text));
                }
            }
        }
        dump
    }

    fn add(&mut self, section: String, text: &str) {
        let mut lines = match section.as_str() {
            "" => return,
            json if text.starts_with(['[', '{']) => elements(json, &plain(text)),
            sockets if sockets.ends_with(" sockets") => text.lines().filter_map(socket).collect(),
            _ => text.lines().map(without_number).collect(),
        };
        if section == "files" {
            let (retired, rest) = lines.into_iter().partition(|line| line.ends_with(".retired f 600"));
            let name = |line: String| line.rsplit('/').next().unwrap().replace(".retired f 600", "");
            (self.retired, lines) = (BTreeSet::from_iter(Vec::into_iter(retired).map(name)), rest);
        }
        if !section.ends_with(" ruleset") {
            lines.sort();
        }
        // The same name twice: an agent that was started while one still ran, say.
        self.sections.entry(section).or_default().extend(lines);
    }

    /// The keys put aside, as `NIB-n`.
    pub(super) fn retired(&self) -> &BTreeSet<String> {
        &self.retired
    }

    /// The resources that are here, as `NIB-n`.
    pub(super) fn resources(&self) -> BTreeSet<String> {
        let names = self.sections["namespaces"].iter();
        names.filter_map(|name| name.strip_prefix("net-")).map(str::to_owned).collect()
    }

    /// How many lines there are in all: a dump of nothing equals another of nothing.
    pub(super) fn size(&self) -> usize {
        self.sections.values().map(Vec::len).sum()
    }

    /// What one has and the other has not, by section; keys put aside are no part of it.
    pub(super) fn differences(&self, after: &Self) -> Vec<String> {
        let names: BTreeSet<&String> = self.sections.keys().chain(after.sections.keys()).collect();
        let mut told = Vec::new();
        for name in names {
            let (was, is) = (self.sections.get(name), after.sections.get(name));
            if was == is {
                continue;
            }
            let (was, is) = (was.cloned().unwrap_or_default(), is.cloned().unwrap_or_default());
            told.push(format!("{name}: {} lines before, {} after", was.len(), is.len()));
            let only = |some: &[String], others: &[String], sign: char| {
                let lines = some.iter().filter(|line| !others.contains(line));
                lines.map(|line| format!("  {sign} {line}")).collect::<Vec<_>>()
            };
            told.extend(only(&was, &is, '-'));
            told.extend(only(&is, &was, '+'));
        }
        told
    }
}

fn plain(text: &str) -> Value {
    let mut value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    strip(&mut value);
    value
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !PASSING.contains(&name.as_str()));
            fields.values_mut().for_each(strip);
        }
        Value::Array(all) => all.iter_mut().for_each(strip),
        _ => {}
    }
}

fn elements(section: &str, value: &Value) -> Vec<String> {
    let all = value.get("nftables").unwrap_or(value).as_array();
    let all = all.unwrap_or_else(|| panic!("{section}: {value}"));
    all.iter()
        .filter(|one| !one.as_object().is_some_and(serde_json::Map::is_empty))
        .map(Value::to_string)
        .collect()
}

/// The columns of `/proc/net` that say what a socket is; `None`: a heading, or a connection that passes.
fn socket(line: &str) -> Option<String> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let kind = *columns.first()?;
    let (first, last) = match kind {
        "netlink" => (2, [2, 4]),
        "packet" => (3, [3, 4]),
        "unix" => (5, [5, 8]),
        _ => (2, [2, 3]),
    };
    // What a kernel keeps of a connection that is over is nobody's any more, and goes by itself within a minute.
    let is_over =
        kind.starts_with("tcp") && !columns.get(4).is_some_and(|state| ["01", "0A"].contains(state));
    let is_heading = ["sk", "sl", "Num"].iter().any(|head| columns[1].starts_with(head));
    if is_heading || is_over || columns.len() <= first {
        return None;
    }
    let told = last.iter().filter_map(|at| columns.get(*at)).copied().collect::<Vec<_>>();
    Some(format!("{kind} {}", told.join(" ")))
}

/// `socket:[123]` and `net:[123]` without the number.
fn without_number(line: &str) -> String {
    match line.split_once(":[") {
        Some((kind, rest)) => {
            let end = rest.find(']').map_or("", |at| &rest[at + 1..]);
            format!("{kind}{end}")
        }
        None => line.to_owned(),
    }
}
