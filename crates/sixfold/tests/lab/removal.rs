//! What is removed is gone: a workload, a resource, a network and a node's whole share come and go in a lab that is up,
//! and all of it, on every node and around them, is then what it was before they came.
//!
//! Names and addresses derive from the files, so the farm before and the farm after are equal text, and not only alike.
//! One thing stays on purpose: the private key of a resource that is gone, put aside for a day.

mod dump;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use dump::Dump;

use crate::ground::{Up, sixfold, soon_within, words};

/// `internet` stands for all places around the nodes.
const PLACES: [&str; 4] = ["ant", "bee", "cat", "internet"];

/// How long a trace may stay: namespaces end some time after their names, and an agent sweeps once a second.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long it may take until two looks in a row are equal: one look takes seconds where others want the processors.
const REST: Duration = Duration::from_secs(90);

const FARM: &str = r#"
farm = "alpha"
allocations = ["2001:db8:a::/48"]
[upstream]
next_hop = "fe80::1"
next_hop_v4 = "203.0.113.1"
[[node]]
name = "ant"
reach = "public"
address = "2001:db8:a::a1/64"
address_v4 = "203.0.113.11/24"
[[node]]
name = "bee"
reach = "public"
address = "2001:db8:a::a2/64"
address_v4 = "203.0.113.12/24"
[[node]]
name = "cat"
reach = "hidden"
families = ["ipv4"]
[[slot]]
slot = 1
holders = ["ant"]
public_v4 = "203.0.113.5/24"
default_v4 = "203.0.113.1"
"#;

const SLOT_OF_BEE: &str = r#"
[[slot]]
slot = 2
holders = ["bee"]
public_v4 = "203.0.113.6/24"
default_v4 = "203.0.113.1"
"#;

/// A network with a workload on each of its nodes.
fn network(tenant: &str, nodes: &[&str], slot: u8) -> String {
    let mut text = format!(
        "tenant = \"{tenant}\"\nnetwork = \"web\"\nnodes = {nodes:?}\nexit = {{ farm = \"alpha\", slot = {slot} }}\n"
    );
    for node in nodes {
        text += &workload(&format!("on-{node}"), node);
    }
    text
}

fn workload(name: &str, node: &str) -> String {
    format!("[[workload]]\nname = \"{name}\"\nnode = \"{node}\"\n")
}

type Files = BTreeMap<&'static str, String>;

/// Where nothing is bee's: the farm to which all else comes, and from which it goes.
fn base() -> Files {
    let acme = network("acme", &["ant", "cat"], 1);
    [("farm", FARM.to_owned()), ("acme", acme), ("globex", network("globex", &["cat"], 1))].into()
}

/// What comes and goes, one after the other.
fn additions() -> [(&'static str, Files); 4] {
    let with = |changes: &[(&'static str, String)]| -> Files {
        let mut files = base();
        files.extend(changes.iter().cloned());
        files
    };
    let exposed = "[[expose]]\nworkload = \"extra\"\nprotocol = \"tcp\"\nport = 443\n";
    let extra = network("acme", &["ant", "cat"], 1) + &workload("extra", "ant") + exposed;
    let everywhere = ["ant", "bee", "cat"];
    [
        ("a workload", with(&[("acme", extra)])),
        ("a resource", with(&[("globex", network("globex", &["ant", "cat"], 1))])),
        ("a network", with(&[("initech", network("initech", &everywhere, 1))])),
        (
            "a node's whole share",
            with(&[
                ("farm", FARM.to_owned() + SLOT_OF_BEE),
                ("acme", network("acme", &everywhere, 1)),
                ("globex", network("globex", &["bee", "cat"], 1)),
                ("initech", network("initech", &everywhere, 2)),
            ]),
        ),
    ]
}

fn write(folder: &Path, files: &Files) {
    drop(fs::remove_dir_all(folder));
    fs::create_dir(folder).unwrap();
    for (name, text) in files {
        fs::write(folder.join(format!("{name}.toml")), text).unwrap();
    }
}

fn apply(lab: &Up, folder: &Path, files: &Files) {
    write(folder, files);
    let (at, folder) = (lab.at.display().to_string(), folder.display().to_string());
    let output = sixfold(&["lab", "apply", "--at", &at, &folder]);
    assert!(output.status.success(), "{}", words(&output));
}

fn dumps(lab: &Up) -> BTreeMap<&'static str, Dump> {
    PLACES.into_iter().map(|place| (place, Dump::of(lab, place))).collect()
}

/// What differs at any place.
fn differences(before: &BTreeMap<&'static str, Dump>, after: &BTreeMap<&'static str, Dump>) -> Vec<String> {
    let told = |place: &&'static str| {
        let of_place = before[place].differences(&after[place]);
        of_place.into_iter().map(move |line| format!("{place}: {line}")).collect::<Vec<_>>()
    };
    PLACES.iter().flat_map(told).collect()
}

/// The dumps once two in a row are equal: an agent opens its doors one by one, at its next looks.
fn settled(lab: &Up) -> BTreeMap<&'static str, Dump> {
    let began = Instant::now();
    let mut before = dumps(lab);
    loop {
        let now = dumps(lab);
        let moved = differences(&before, &now);
        if moved.is_empty() {
            return now;
        }
        assert!(began.elapsed() < REST, "it does not come to rest:\n{}", moved.join("\n"));
        before = now;
    }
}

#[test]
fn whatever_is_removed_leaves_every_node_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let farm = folder.path().join("farm");
    write(&farm, &base());
    let lab = Up::of(&farm.display().to_string());
    // A file that comes some seconds after the first session with who is hidden, and stays.
    let knows = || lab.exec("ant", &["test", "-e", "/run/sixfold/state/heard.json"]).status.success();
    soon_within(3 * PATIENCE, "where cat was heard is kept", knows);
    let before = settled(&lab);
    let mut kept = BTreeMap::from(PLACES.map(|place| (place, before[place].retired().clone())));
    for (what, files) in additions() {
        apply(&lab, &farm, &files);
        let during = settled(&lab);
        let came = differences(&before, &during);
        assert!(came.len() > 10, "{what} did not come: {came:#?}");
        apply(&lab, &farm, &base());
        let began = Instant::now();
        let after = loop {
            let after = dumps(&lab);
            let left = differences(&before, &after);
            if left.is_empty() {
                break after;
            }
            assert!(began.elapsed() < PATIENCE, "{what} left traces:\n{}", left.join("\n"));
        };
        for place in PLACES {
            let (had, has) = (during[place].resources(), after[place].resources());
            let gone: Vec<String> = had.difference(&has).cloned().collect();
            // From around the nodes each node's files are seen.
            kept.get_mut("internet").unwrap().extend(gone.iter().cloned());
            kept.get_mut(place).unwrap().extend(gone);
        }
        for place in PLACES {
            assert_eq!(*after[place].retired(), kept[place], "{place}: a key is put aside for each resource");
        }
        let lines: usize = after.values().map(Dump::size).sum();
        println!("{what}: {} lines came and went, {lines} stayed as they were", came.len());
    }
    assert!(kept["bee"].len() >= 4, "{kept:?}");
}
