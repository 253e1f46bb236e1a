//! What is on a node, as this project sees it and as `ip`, `nft`, `ss` and `find` do: in sections that can be compared.
//!
//! Owns: what is left out of the comparison, each with its reason. Everything else must be the same.

use std::collections::BTreeMap;

use serde_json::{Deserializer, Value};
use sixfold_core::model::DeviceStatus;

use crate::place::{Place, SIXFOLD};

/// Keys that `ip` and `nft` print and nothing determines.
const UNDETERMINED: [&str; 8] = [
    "ifindex",      // the kernel's next number
    "link_index",   // the same, of the other end or of the link below
    "link_netnsid", // the next number by which a namespace knows another
    "handle",       // nft's next number
    "packets",      // what traffic there was
    "bytes",
    "operstate", // follows the carrier, which is in the flags, when the kernel comes to look at it
    "qdisc",     // the same: none until then
];

/// A node, by section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dump(BTreeMap<String, Vec<String>>);

impl Dump {
    /// Takes it. The node's own devices, by resource: a node that was built from nothing has other keys each time, so
    /// they are known by whose they are.
    pub(crate) fn of(place: &Place, node: &str, devices: &[(String, DeviceStatus)]) -> Self {
        let output = place.run(node, &[("S", SIXFOLD)], &["sh", "-eu", "-c", include_str!("dump.sh")]);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && err.is_empty(), "cannot dump {node}: {}\n{err}", output.status);
        let mut text = String::from_utf8(output.stdout).unwrap();
        for (node, device) in devices {
            let name = format!("the key of {}-{} on {node}", device.resource.index, device.resource.number);
            text = text.replace(&device.report.public_key.to_string(), &name);
        }
        let sections = text.split("# ").skip(1).filter_map(|section| section.split_once('\n'));
        Self(sections.map(|(title, body)| (title.to_owned(), lines(title, body))).collect())
    }

    /// Where another one differs from this, a line each; the first of many.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let titles: std::collections::BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        for title in titles {
            let (is, was) = (other.0.get(title), self.0.get(title));
            let (is, was) = (is.map_or(&[][..], Vec::as_slice), was.map_or(&[][..], Vec::as_slice));
            if is == was {
                continue;
            }
            let alone = |one: &[String], other: &[String]| -> Vec<String> {
                one.iter().filter(|line| !other.contains(line)).cloned().collect()
            };
            let (less, more) = (alone(was, is), alone(is, was));
            if less.is_empty() && more.is_empty() {
                found.push(format!("{title}: the same lines in another order"));
            }
            let lines =
                (0..less.len().max(more.len())).take(8).flat_map(|at| told(less.get(at), more.get(at)));
            found.extend(lines.map(|line| format!("{title}: {line}")));
        }
        found
    }

    /// The sections about the kernel: all but the files.
    pub(crate) fn kernel(&self) -> Self {
        let about_files = |title: &String| title.contains("files");
        Self(
            self.0
                .iter()
                .filter(|(title, _)| !about_files(title))
                .map(|(t, l)| (t.clone(), l.clone()))
                .collect(),
        )
    }

    /// The paths of files that a crash may leave aside.
    pub(crate) fn asides(&self) -> Vec<String> {
        self.0["text files"].iter().filter(|line| line.ends_with(".new")).cloned().collect()
    }
}

/// Lines may be long: of two that differ what they differ in, with what is before it.
fn told(less: Option<&String>, more: Option<&String>) -> Vec<String> {
    const BEFORE: usize = 100;
    const SHOWN: usize = 260;
    let same = match (less, more) {
        (Some(less), Some(more)) => less.bytes().zip(more.bytes()).take_while(|(a, b)| a == b).count(),
        _ => 0,
    };
    let part = |line: &String| {
        let bytes = &line.as_bytes()[same.saturating_sub(BEFORE).min(line.len())..];
        String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned()
    };
    let signed = |sign: &str, line: Option<&String>| line.map(|line| format!("{sign} {}", part(line)));
    [signed("-", less), signed("+", more)].into_iter().flatten().collect()
}

fn lines(title: &str, body: &str) -> Vec<String> {
    let values = || {
        let read = Deserializer::from_str(body).into_iter::<Value>();
        read.map(|value| value.unwrap_or_else(|error| panic!("{title}: {error}: {body}")))
    };
    match title.split_whitespace().next() {
        // Order is that of making.
        Some("json") => values().flat_map(|value| sorted(determined(value))).collect(),
        Some("nft") => values().flat_map(by_chain).collect(),
        Some("ours") => peers_by_name(without_endpoints(body)),
        // Where hidden peers were heard is there once a session lived, which nothing here waits for.
        Some("text") => {
            body.lines().filter(|line| !line.ends_with("/heard.json")).map(str::to_owned).collect()
        }
        _ => body.lines().map(str::to_owned).collect(),
    }
}

/// Without what nothing determines.
fn determined(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().filter(|(key, _)| !UNDETERMINED.contains(&key.as_str()));
            members
                .map(
                    |(key, value)| {
                        if key == "ifalias" { (key, alias(&value)) } else { (key, determined(value)) }
                    },
                )
                .collect()
        }
        Value::Array(all) => all.into_iter().map(determined).collect(),
        plain => plain,
    }
}

/// A link's alias tells the number of the namespace of its socket, which is the kernel's next.
fn alias(value: &Value) -> Value {
    let words = value.as_str().unwrap_or_default().split(' ').filter(|word| !word.starts_with("inode="));
    words.collect::<Vec<_>>().join(" ").into()
}

/// The elements of a list and of the lists in them, sorted.
fn sorted(value: Value) -> Vec<String> {
    fn within(value: Value) -> Value {
        match value {
            Value::Array(all) => {
                let mut all: Vec<Value> = all.into_iter().map(within).collect();
                all.sort_by_key(ToString::to_string);
                Value::Array(all)
            }
            Value::Object(members) => members.into_iter().map(|(key, value)| (key, within(value))).collect(),
            plain => plain,
        }
    }
    match within(value) {
        Value::Array(all) => all.iter().map(ToString::to_string).collect(),
        plain => vec![plain.to_string()],
    }
}

/// A ruleset. Chains and sets are listed in the order of making; the rules of a chain in the one that counts.
fn by_chain(mut ruleset: Value) -> Vec<String> {
    let Value::Array(all) = ruleset["nftables"].take() else { panic!("no ruleset") };
    let mut all: Vec<(String, String)> =
        all.into_iter().map(|one| (home(&one), in_order(determined(one)).to_string())).collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all.into_iter().map(|(_, text)| text).collect()
}

/// What a part of a ruleset is listed under.
fn home(part: &Value) -> String {
    let Some((kind, what)) = part.as_object().and_then(|members| members.iter().next()) else {
        return String::new();
    };
    let name = if kind == "rule" { &what["chain"] } else { &what["name"] };
    format!("{kind} {} {name}", what["table"])
}

/// The elements of a set or a map have no order; what they counted must be gone by then, or it would give them one.
fn in_order(mut part: Value) -> Value {
    for kind in ["set", "map"] {
        if let Some(Value::Array(elements)) = part.get_mut(kind).and_then(|set| set.get_mut("elem")) {
            elements.sort_by_key(ToString::to_string);
        }
    }
    part
}

/// Peers are listed by their keys, which are known by other names here.
fn peers_by_name(lines: Vec<String>) -> Vec<String> {
    let mut named = Vec::new();
    let mut lines = lines.into_iter();
    while let Some(line) = lines.next() {
        let peers =
            line.strip_suffix("peers: {").map(|indent| (format!("{indent}}},"), format!("{indent}    }},")));
        named.push(line);
        let Some((end, end_of_one)) = peers else { continue };
        let within: Vec<String> = lines.by_ref().take_while(|line| *line != end).collect();
        let mut peers: Vec<&[String]> = within.split_inclusive(|line| *line == end_of_one).collect();
        peers.sort();
        named.extend(peers.concat());
        named.push(end);
    }
    named
}

/// A peer's endpoint is where traffic was last heard from.
fn without_endpoints(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut until: Option<String> = None;
    for line in text.lines() {
        match &until {
            Some(end) if line == end => until = None,
            Some(_) => {}
            None => match line.split_once("endpoint: ") {
                Some((indent, rest)) if rest.ends_with('(') => until = Some(format!("{indent}),")),
                Some(_) => {}
                None => lines.push(line.to_owned()),
            },
        }
    }
    lines
}
