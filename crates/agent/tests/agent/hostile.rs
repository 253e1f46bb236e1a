//! Snapshots that nobody should send: each is answered with what is wrong, where and what helps, and changes nothing.

use std::fs;
use std::path::Path;

use sixfold_agent::feed::FileFeed;
use sixfold_agent::received::Received;
use sixfold_agent::run::Agent;
use sixfold_agent::store::{SlotError, Store};
use sixfold_core::id::Revision;
use sixfold_core::limit;
use sixfold_core::model::Status;
use sixfold_core::state::NodeState;

use crate::support::{Registry, Shared, ground, node, places};

/// The revision that the node works from.
const HELD: u64 = 5;

type FileAgent = Agent<Shared, FileFeed>;

/// The text of a snapshot of one node of the first farm, an element to a line.
fn text(of: &str, revision: u64) -> String {
    let mut registry = Registry::of_first_farm();
    registry.revision = revision;
    serde_json::to_string_pretty(&registry.snapshot(&node(of))).unwrap()
}

/// A good newer snapshot with one text of it replaced, where that stands first.
fn with(old: &str, new: &str) -> Vec<u8> {
    let good = text("ant", HELD + 1);
    assert!(good.contains(old), "{old:?} does not stand in {good}");
    good.replacen(old, new, 1).into_bytes()
}

/// A good newer snapshot with one value replaced, or one field removed.
fn set(pointer: &str, value: Option<&str>) -> Vec<u8> {
    let mut json: serde_json::Value = serde_json::from_str(&text("ant", HELD + 1)).unwrap();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let parent = json.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}"));
    let value = value.map(|value| serde_json::from_str(value).unwrap());
    match (parent, value) {
        (serde_json::Value::Object(fields), Some(value)) => drop(fields.insert(field.to_owned(), value)),
        (serde_json::Value::Object(fields), None) => drop(fields.remove(field).unwrap()),
        (serde_json::Value::Array(all), Some(value)) => all[field.parse::<usize>().unwrap()] = value,
        (parent, _) => panic!("{parent}"),
    }
    serde_json::to_vec_pretty(&json).unwrap()
}

/// A good newer snapshot with one element of a list there twice.
fn twice(list: &str) -> Vec<u8> {
    let mut json: serde_json::Value = serde_json::from_str(&text("ant", HELD + 1)).unwrap();
    let all = json.pointer_mut(list).and_then(serde_json::Value::as_array_mut).unwrap();
    all.push(all[0].clone());
    serde_json::to_vec_pretty(&json).unwrap()
}

/// What is no JSON, or another document.
fn shapes() -> Vec<(&'static str, Vec<u8>)> {
    let good = text("ant", HELD + 1).into_bytes();
    vec![
        ("an empty file", Vec::new()),
        ("a truncated snapshot", good[..good.len() / 2].to_vec()),
        ("a snapshot without its last byte", good[..good.len() - 1].to_vec()),
        ("a snapshot and the beginning of another", [&good[..], b"{"].concat()),
        ("a farm file", b"farm = \"alpha\"\n".to_vec()),
        ("null", b"null".to_vec()),
        ("a list", b"[]".to_vec()),
        ("zeros, as after a crash", vec![0; 4096]),
        ("a text that is no text", {
            let name = good.windows(5).position(|bytes| bytes == b"\"ant\"").unwrap();
            [&good[..=name], b"\xff\xfe", &good[name + 1..]].concat()
        }),
        ("ten thousand lists in each other", "[".repeat(10_000).into_bytes()),
        ("ten thousand lists in a field that is not known", {
            let lists = format!("{{ \"of_a_later_version\": {}", "[".repeat(10_000));
            with("{", &lists)
        }),
        ("a missing revision", set("/revision", None)),
        ("missing networks", set("/networks", None)),
        ("a node that is null", set("/node", Some("null"))),
        ("a field twice", with("\"revision\"", "\"revision\": 6, \"revision\"")),
        ("a negative revision", set("/revision", Some("-1"))),
        ("a revision that is a fraction", set("/revision", Some("6.5"))),
        ("a revision past the last", with("\"revision\": 6", "\"revision\": 18446744073709551616")),
        ("a text for a list", set("/networks", Some("\"acme\""))),
        ("a list for a text", set("/farm", Some("[\"alpha\"]"))),
    ]
}

/// What holds a value that cannot be.
fn values() -> Vec<(&'static str, Vec<u8>)> {
    let long = format!("\"{}\"", "n".repeat(300));
    vec![
        ("a name of 300 characters", set("/node/id", Some(&long))),
        ("a name that is not ASCII", set("/farm", Some("\"b\u{e9}\u{e9}\""))),
        ("a name with a control character", set("/networks/0/id", Some("\"acme/\\u001b[31mweb\""))),
        ("a name that is a path", set("/networks/0/id", Some("\"../etc\""))),
        ("a NIC that is a path", set("/node/nic", Some("\"../eth0\""))),
        ("host bits in an allocation", set("/networks/0/allocation/prefix", Some("\"2001:db8:a::1/48\""))),
        ("a /56 allocation", set("/networks/0/allocation/prefix", Some("\"2001:db8:a:100::/56\""))),
        ("an allocation that is everything", set("/networks/0/allocation/prefix", Some("\"::/0\""))),
        ("an allocation that is link-local", set("/networks/0/allocation/prefix", Some("\"fe80::/48\""))),
        ("an allocation of mapped IPv4", set("/networks/0/allocation/prefix", Some("\"::ffff:0:0/96\""))),
        ("allocation number 0", set("/networks/0/allocation/number", Some("0"))),
        ("slot 16", set("/networks/0/slot", Some("16"))),
        ("slot 0", set("/gateways/0/slot", Some("0"))),
        ("an index of PrefixZero", set("/networks/0/resources/0/index", Some("\"0abc\""))),
        ("an index past the last", set("/networks/0/resources/0/index", Some("\"ff00\""))),
        ("an index in capitals", set("/networks/0/resources/0/index", Some("\"1ABC\""))),
        ("workload number 1", set("/networks/0/workloads/0/number", Some("1"))),
        ("port 65536", set("/networks/0/exposures/0/port", Some("65536"))),
        ("an MTU that is too small", set("/node/mtu", Some("1279"))),
        ("an MTU that is none", set("/node/mtu", Some("70000"))),
        ("a node of no address", set("/node/reach", Some("{\"public\": {}}"))),
        (
            "a node of nobody's address",
            set("/node/reach", Some("{\"public\": {\"address\": \"ff02::1/64\"}}")),
        ),
        ("a way to be reached that is not known", set("/node/reach", Some("{\"relayed\": {}}"))),
        ("a seat that is not known", set("/networks/0/resources/0/seat", Some("\"relay\""))),
        ("a protocol that is not known", set("/networks/0/exposures/0/protocol", Some("\"sctp\""))),
        (
            "a word that would clear a screen",
            set("/networks/0/exposures/0/protocol", Some("\"\\u001b[2J\\u202e\\u0007\"")),
        ),
        ("a word of a megabyte", {
            set("/networks/0/exposures/0/protocol", Some(&format!("\"{}\"", "p".repeat(1 << 20))))
        }),
        (
            "a key that is none",
            set(
                "/networks/0/resources/0/device",
                Some("{\"public_key\": \"AAAA\", \"listen_port\": 1, \"endpoints\": []}"),
            ),
        ),
        (
            "an endpoint without a port",
            set(
                "/networks/0/resources/0/device",
                Some(
                    "{\"public_key\": \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\", \"listen_port\": 1, \"endpoints\": [\"2001:db8::1\"]}",
                ),
            ),
        ),
        ("a format of a later version", set("/format", Some("2"))),
        ("a later format that is another document", b"{ \"format\": 7, \"cells\": [] }".to_vec()),
        ("a format that is a text", set("/format", Some("\"1\""))),
    ]
}

/// What contradicts itself: types cannot tell.
fn contradictions() -> Vec<(&'static str, Vec<u8>)> {
    let other = |pointer: &str| -> String {
        let json: serde_json::Value = serde_json::from_str(&text("ant", HELD + 1)).unwrap();
        json.pointer(pointer).unwrap().to_string()
    };
    vec![
        ("a network twice", twice("/networks")),
        ("a slot twice", twice("/gateways")),
        (
            "one index for two tenants",
            set("/networks/1/resources/0/index", Some(&other("/networks/0/resources/0/index"))),
        ),
        ("a resource twice", twice("/networks/0/resources")),
        ("one allocation number for two", set("/networks/1/allocation/prefix", Some("\"2001:db8:b::/48\""))),
        ("one allocation of two numbers", set("/networks/1/allocation/number", Some("2"))),
        ("two exit points of a network", {
            let (one, two) = (other("/networks/0/resources/0/seat"), other("/networks/0/resources/1/seat"));
            assert_ne!(one, two);
            set("/networks/0/resources/1/seat", Some(&one))
        }),
        (
            "a resource on another node than its own",
            set("/networks/1/resources/0/seat", Some("{\"node\": \"bee\"}")),
        ),
        ("a workload on a node outside the network", set("/networks/0/workloads/0/index", Some("\"1fff\""))),
        ("a workload twice", twice("/networks/0/workloads")),
        ("an exposed workload that is not there", set("/networks/0/exposures/0/number", Some("200"))),
        ("an exposed port 0", set("/networks/0/exposures/0/port", Some("0"))),
        ("a resource with an MTU that is too small", set("/networks/0/resources/0/mtu", Some("100"))),
        ("overlapping shares of a slot", {
            let exits = "{\"10a9\": [\"10a9\", \"1abc\"], \"1e65\": [\"1e65\", \"1abc\"]}";
            set("/gateways/0/exits", Some(exits))
        }),
        ("a share of another slot", set("/gateways/0/exits", Some("{\"2abc\": [\"2abc\"]}"))),
        (
            "ports of two networks",
            set("/gateways/0/ports", Some("{\"10a9\": \"1024-2047\", \"1e65\": \"2047-3000\"}")),
        ),
        ("a bandwidth of nobody", set("/gateways/0/bandwidth", Some("{\"1fff\": \"1 Mbit/s\"}"))),
        ("a bandwidth that is none", set("/gateways/0/bandwidth", Some("{\"10a9\": \"0 Mbit/s\"}"))),
        ("an exit point without its end at the gateway", set("/gateways/0/exits", Some("{}"))),
        ("a slot's exit point on a node without the slot", set("/gateways", Some("[]"))),
        ("public IPv4 without default", set("/gateways/0/default_v4", Some("null"))),
        ("a default on another subnet", set("/gateways/0/default_v4", Some("\"198.51.100.1\""))),
        ("host bits in a management prefix", set("/management", Some("[\"192.0.2.1/24\"]"))),
        ("a next hop that is multicast", set("/upstream/next_hop", Some("\"ff02::2\""))),
        ("a next hop that is loopback", set("/upstream/next_hop_v4", Some("\"127.0.0.1\""))),
    ]
}

/// The same of networks' own public IPv4 addresses.
fn contradictions_of_addresses() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("an address of two networks", {
            let whole = |index: &str| format!("{{\"index\": \"{index}\", \"number\": 2}}");
            let own = |index| format!("{{\"address\": \"203.0.113.20\", \"whole\": {}}}", whole(index));
            let both = format!("{{\"10a9\": {}, \"1e65\": {}}}", own("10a9"), own("1e65"));
            set("/gateways/0/own_v4", Some(&both))
        }),
        (
            "an address that is the slot's",
            set("/gateways/0/own_v4", Some("{\"10a9\": {\"address\": \"203.0.113.5\"}}")),
        ),
        (
            "an address of nobody",
            set("/gateways/0/own_v4", Some("{\"1fff\": {\"address\": \"203.0.113.20\"}}")),
        ),
        ("an address that leads into another network", {
            let whole = "{\"index\": \"1e65\", \"number\": 2}";
            let own = format!("{{\"10a9\": {{\"address\": \"203.0.113.20\", \"whole\": {whole}}}}}");
            set("/gateways/0/own_v4", Some(&own))
        }),
        ("a port of an address that leads twice", {
            let forward =
                "{\"protocol\": \"tcp\", \"port\": 80, \"index\": \"10a9\", \"number\": 2, \"to\": 80}";
            let own = format!("{{\"address\": \"203.0.113.20\", \"forwards\": [{forward}, {forward}]}}");
            set("/gateways/0/own_v4", Some(&format!("{{\"10a9\": {own}}}")))
        }),
    ]
}

/// What is right, and not for this node or not now.
fn strangers() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("an older revision", text("ant", HELD - 1).into_bytes()),
        ("a snapshot of another node", text("bee", HELD + 1).into_bytes()),
        ("a node that was renamed", set("/node/id", Some("\"dog\""))),
    ]
}

fn put(path: &Path, bytes: &[u8]) {
    let aside = path.with_extension("aside");
    fs::write(&aside, bytes).unwrap();
    fs::rename(aside, path).unwrap();
}

/// All that a refused snapshot must not change.
#[derive(Debug, PartialEq)]
struct Held {
    kernel: NodeState,
    slots: [Option<Vec<u8>>; 2],
    status: (bool, Revision, u64),
}

struct Node {
    dir: tempfile::TempDir,
    kernel: Shared,
    agent: FileAgent,
}

impl Node {
    /// A node that works from revision [`HELD`] and is in sync.
    fn settled() -> Self {
        let (dir, kernel) = (tempfile::tempdir().unwrap(), Shared::new());
        put(&dir.path().join("feed.json"), text("ant", HELD).as_bytes());
        let mut agent = open(dir.path(), &kernel);
        assert!(agent.round().unwrap().in_sync);
        Self { dir, kernel, agent }
    }

    fn given(&mut self, bytes: &[u8]) -> Status {
        put(&self.dir.path().join("feed.json"), bytes);
        self.agent.round().unwrap().clone()
    }

    fn held(&self) -> Held {
        let slot = |name| fs::read(places(self.dir.path()).state.join(name)).ok();
        let status = self.agent.status().unwrap();
        Held {
            kernel: self.kernel.state(),
            slots: ["snapshot.a", "snapshot.b"].map(slot),
            status: (status.in_sync, status.revision, status.operations),
        }
    }
}

fn open(dir: &Path, kernel: &Shared) -> FileAgent {
    Agent::open(places(dir), kernel.clone(), FileFeed::new(&dir.join("feed.json")), ground).unwrap()
}

/// What the node says to each, having shown that it keeps what it has.
fn words(cases: Vec<(&'static str, Vec<u8>)>) -> String {
    let mut settled = Node::settled();
    let mut told = String::new();
    for (title, bytes) in cases {
        let before = settled.held();
        let status = settled.given(&bytes);
        assert_eq!(settled.held(), before, "{title}");
        assert_eq!(status.failures.len(), 1, "{title}: {:?}", status.failures);
        let failure = status.failures[0].replace(settled.dir.path().to_str().unwrap(), "DIR");
        assert!(failure.contains("(hint: ") && failure.len() < 1000, "{title}: {failure}");
        assert!(failure.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{title}: {failure:?}");
        assert!(Received::read(&bytes).is_err() || failure.contains("refused a snapshot"), "{title}");
        told += &format!("# {title}\n{failure}\n\n");
    }
    // An agent that starts beside the last of them goes on from what it had, and changes nothing either.
    let before = settled.kernel.state();
    drop(settled.agent);
    let status = open(settled.dir.path(), &settled.kernel).round().unwrap().clone();
    assert_eq!((status.in_sync, status.revision, status.operations), (true, Revision(HELD), 0));
    assert_eq!(settled.kernel.state(), before);
    told
}

#[test]
fn words_about_shapes_of_snapshots() {
    insta::assert_snapshot!(words(shapes()));
}

#[test]
fn words_about_values_in_snapshots() {
    insta::assert_snapshot!(words(values()));
}

#[test]
fn words_about_snapshots_that_contradict_themselves() {
    insta::assert_snapshot!(words([contradictions(), contradictions_of_addresses()].concat()));
}

#[test]
fn words_about_snapshots_of_others() {
    insta::assert_snapshot!(words(strangers()));
}

#[test]
fn a_snapshot_past_the_limit_is_refused_by_its_length() {
    let mut settled = Node::settled();
    let before = settled.held();
    let path = settled.dir.path().join("feed.json");
    fs::File::create(&path).unwrap().set_len(limit::SNAPSHOT_BYTES_MAX as u64 + 1).unwrap();
    let failures = settled.agent.round().unwrap().failures.clone();
    assert!(failures[0].contains("is longer than 67108864 bytes (hint: "), "{failures:?}");
    assert_eq!(settled.held(), before);
}

#[test]
fn a_node_without_a_snapshot_stays_empty_whatever_it_is_given() {
    let (dir, kernel) = (tempfile::tempdir().unwrap(), Shared::new());
    let mut agent = open(dir.path(), &kernel);
    let before = kernel.state();
    for (title, bytes) in [contradictions(), contradictions_of_addresses()].concat() {
        put(&dir.path().join("feed.json"), &bytes);
        assert!(agent.round().is_none(), "{title}");
        assert!(agent.complaint().is_some_and(|said| said.contains("is no snapshot")), "{title}");
    }
    assert_eq!(kernel.state(), before);
    assert!(!places(dir.path()).state.join("snapshot.a").exists());
}

/// A good newer snapshot with fields that no version knows yet.
fn of_a_later_version(revision: u64) -> Vec<u8> {
    let mut json: serde_json::Value = serde_json::from_str(&text("ant", revision)).unwrap();
    for (pointer, field) in
        [("", "policy"), ("/node", "labels"), ("/networks/0", "\u{1b}[2J"), ("/upstream", "anycast")]
    {
        let object = json.pointer_mut(pointer).and_then(serde_json::Value::as_object_mut).unwrap();
        object.insert(field.to_owned(), serde_json::json!({ "deep": [1, { "er": null }] }));
    }
    for resource in json.pointer_mut("/networks/0/resources").and_then(|all| all.as_array_mut()).unwrap() {
        resource["weight"] = 7.into();
    }
    serde_json::to_vec_pretty(&json).unwrap()
}

#[test]
fn fields_of_a_later_version_are_kept_and_reported() {
    let mut settled = Node::settled();
    let bytes = of_a_later_version(HELD + 1);
    let status = settled.given(&bytes);
    assert!(status.in_sync && status.revision == Revision(HELD + 1) && status.failures.is_empty());
    let wanted = [
        "networks[].\\u{1b}[2J",
        "networks[].resources[].weight",
        "node.labels",
        "policy",
        "upstream.anycast",
    ];
    assert_eq!(status.unknown_fields, wanted);
    // The slot holds what came, to the byte; so does it after a restart, which reports the same.
    let on_disk = |settled: &Node| {
        let slots = settled.held().slots.into_iter().flatten();
        slots.filter(|slot| slot.ends_with(&bytes)).count()
    };
    assert_eq!(on_disk(&settled), 1);
    settled.agent = {
        drop(settled.agent);
        open(settled.dir.path(), &settled.kernel)
    };
    let status = settled.agent.round().unwrap().clone();
    assert_eq!((status.operations, status.unknown_fields.len()), (0, wanted.len()));
    assert_eq!(on_disk(&settled), 1);
    // The same revision without them says the same to this version, and is another document all the same.
    let status = settled.given(text("ant", HELD + 1).as_bytes());
    assert!(status.in_sync && status.unknown_fields.is_empty() && status.operations == 0);
    assert!(
        settled.held().slots.iter().flatten().any(|slot| slot.ends_with(text("ant", HELD + 1).as_bytes()))
    );
}

#[test]
fn a_thousand_unknown_fields_are_a_few_lines() {
    let mut json: serde_json::Value = serde_json::from_str(&text("ant", HELD + 1)).unwrap();
    for at in 0..1000 {
        json[format!("{at:04}{}", "x".repeat(5000))] = at.into();
    }
    let received = Received::read(&serde_json::to_vec(&json).unwrap()).unwrap();
    assert_eq!(received.unknown.len(), 21);
    assert_eq!(received.unknown[20], "and 980 more");
    assert!(received.unknown.iter().all(|line| line.len() < 300), "{:?}", received.unknown);
}

/// A slot as a later version would write it: whole, and not to be read by this one.
fn slot(serial: u64, body: &str) -> Vec<u8> {
    use sha2::Digest as _;
    let sum: String = sha2::Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sixfold-snapshot 1 {serial} {} {sum}\n{body}", body.len()).into_bytes()
}

#[test]
fn a_slot_that_only_a_later_version_reads_still_says_what_was_seen() {
    let settled = Node::settled();
    let later = places(settled.dir.path()).state.join("snapshot.b");
    let body = "{ \"format\": 2, \"revision\": 9, \"cells\": [] }";
    fs::write(&later, slot(40, body)).unwrap();
    let mut settled = Node {
        agent: {
            drop(settled.agent);
            open(settled.dir.path(), &settled.kernel)
        },
        ..settled
    };
    let status = settled.given(text("ant", 8).as_bytes());
    assert_eq!(status.revision, Revision(HELD), "it goes on with what it can read");
    assert!(status.failures[0].contains("revision 8: revision 9 has been seen"), "{:?}", status.failures);
    assert_eq!(fs::read(&later).unwrap(), slot(40, body), "and leaves the other for a later version");
    let loaded = Store::open(&places(settled.dir.path()).state).unwrap().load();
    let SlotError::Content { serial: 40, revision: Revision(9), .. } = &loaded.damaged[0] else {
        panic!("{:?}", loaded.damaged)
    };
    let words = std::error::Error::source(&loaded.damaged[0]).unwrap().to_string();
    assert_eq!(words, "it is of format 2, and this version reads format 1");
    // One that is no older takes its place, and is the newer one of the two for any version.
    assert_eq!(settled.given(text("ant", 9).as_bytes()).revision, Revision(9));
    let text = fs::read_to_string(&later).unwrap();
    assert!(text.starts_with("sixfold-snapshot 1 41 "), "{}", &text[..40]);
}
