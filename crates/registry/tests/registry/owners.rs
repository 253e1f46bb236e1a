//! The registry is ended at each step of what owners ask of it besides networks: a farm, a node that joins by a token, a device, keys
//! that are replaced, nodes that are in sync. By the real routes, with real signatures: what is left is all of it or nothing,
//! every signature and path in it proves, and the same asked again comes to what an undisturbed registry comes to.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use axum::http::Method;
use serde::Serialize;
use serde_json::Value;
use sixfold_api::client::{Client, ClientError};
use sixfold_api::problem::Kind;
use sixfold_api::resource::{Done, Held, Put, Rotated};
use sixfold_api::tls::Identity;
use sixfold_core::id::Revision;
use sixfold_core::key::PublicKey;
use sixfold_core::model::{DeviceReport, Seat, Status};
use sixfold_core::trust::{
    DeviceOf, DeviceStatement, NetworkStatement, NodeStatement, Owner, Role, Rotation, Signed, Statement,
    Subject,
};
use sixfold_registry::copy::copy;
use sixfold_registry::dump::dump;
use sixfold_registry::fsck::fsck;
use sixfold_registry::run::store_in;
use sixfold_registry::store::Sqlite;
use tokio::runtime::Runtime;

use crate::process::{PATIENCE, Process, address, own_key};
use crate::statements::{
    FARMER, NODES, TENANT, delegation, farm, live, network, node, node_statement, signing, status, token,
};

/// The seed of the key that comes after another.
const fn next(seed: u8) -> u8 {
    seed + 0x30
}

fn by<T: Statement>(statement: &T, seed: u8) -> Signed {
    Signed::new(statement, &signing(seed))
}

fn put(statement: Signed, token: Option<String>) -> Put {
    Put { statement, confirmation: None, token }
}

fn device(held: &[Held], version: u64) -> DeviceStatement {
    let own = held.iter().find(|held| held.seat == Seat::Node(node(NODES[1]))).unwrap();
    let (key, generation) = (own.resource, own.generation);
    let of = DeviceOf { node: node(NODES[1]), key, generation, network: network() };
    let report =
        DeviceReport { public_key: PublicKey::from_bytes([7; 32]), listen_port: 5000, endpoints: Vec::new() };
    DeviceStatement::new(of, version, report).unwrap()
}

/// Of whatever there is.
fn in_sync(seed: u8) -> Status {
    Status { revision: Revision(1000), ..status(seed, true) }
}

/// What is asked, and by whom: a key that is replaced by it is followed by the new one.
struct Ask {
    by: Vec<u8>,
    path: String,
    body: Value,
    /// The idempotency key.
    key: String,
}

impl Ask {
    fn new(by: u8, path: String, body: &impl Serialize) -> Self {
        Self { by: vec![by], path, body: serde_json::to_value(body).unwrap(), key: String::new() }
    }

    /// A key and what its owner had said, by the next one.
    fn rotation(owner: Owner, seed: u8, statements: Vec<Signed>) -> Self {
        let path = format!("/v1/keys/{}/{}", owner.role, owner.id);
        let rotation = Rotation { owner, sequence: 1, next: signing(next(seed)).verifying() };
        let body = Rotated { rotations: vec![by(&rotation, seed)], statements };
        Self { by: vec![seed, next(seed)], ..Self::new(seed, path, &body) }
    }
}

/// The life of a farm: what each part is called, whether it is cut, and what it asks. Of a network the prefixes are needed that it got.
type Part = (&'static str, bool, fn(&[Held]) -> Vec<Ask>);

const LIFE: [Part; 10] = [
    ("a farm", true, |_| vec![Ask::new(FARMER, of_farm(), &put(by(&delegation(1, false), FARMER), None))]),
    ("a join with a token", true, |_| vec![joins(NODES[0])]),
    ("another join", false, |_| vec![joins(NODES[1])]),
    ("a slot", true, |_| vec![Ask::new(FARMER, of_farm(), &put(by(&delegation(2, true), FARMER), None))]),
    ("a network", false, |_| vec![Ask::new(TENANT, of_network(), &put(by(&live(1, &NODES), TENANT), None))]),
    ("a device", true, |held| {
        let path = format!("/v1/nodes/{}/devices", node(NODES[1]));
        vec![Ask::new(NODES[1], path, &put(by(&device(held, 1), NODES[1]), None))]
    }),
    ("a node's new key", true, |held| {
        let [_, seed] = NODES;
        let moved = NodeStatement { version: 2, ..node_statement(seed) };
        let again = vec![by(&moved, next(seed)), by(&device(held, 2), next(seed))];
        vec![Ask::rotation(Owner::node(&node(seed)), seed, again)]
    }),
    ("a tenant's new key", true, |_| {
        let owner = Owner { role: Role::Tenant, id: network().tenant.into() };
        vec![Ask::rotation(owner, TENANT, vec![by(&live(2, &NODES), next(TENANT))])]
    }),
    ("a network that goes", false, |_| {
        let gone = NetworkStatement { version: 3, subject: Subject::Deleted(network()) };
        vec![Ask::new(next(TENANT), of_network(), &put(by(&gone, next(TENANT)), None))]
    }),
    ("nodes in sync", true, |_| {
        let of = |by: u8, seed: u8| Ask::new(by, format!("/v1/nodes/{}/status", node(seed)), &in_sync(seed));
        vec![of(NODES[0], NODES[0]), of(next(NODES[1]), NODES[1])]
    }),
];

fn of_farm() -> String {
    format!("/v1/farms/{}", farm())
}

fn of_network() -> String {
    format!("/v1/networks/{}", network())
}

fn joins(seed: u8) -> Ask {
    let said = put(by(&node_statement(seed), seed), Some(token(seed, FARMER)));
    Ask::new(seed, format!("/v1/nodes/{}", node(seed)), &said)
}

/// Who asks, and where.
struct Hand {
    runtime: Runtime,
    registry: std::net::SocketAddr,
}

impl Hand {
    fn at(registry: std::net::SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, registry }
    }

    /// Asks once, by each key that it may be by.
    fn ask(&self, ask: &Ask) -> Result<Done, ClientError> {
        let once = |seed: u8| {
            let identity = Identity::of(&signing(seed)).unwrap();
            let pinned = *own_key().verifying().as_bytes();
            let client = Client::new(self.registry.to_string(), pinned, Some(&identity)).unwrap();
            let mut client = client.in_session("1-0000000000000001");
            // The status of a node is no change, and has no key.
            let key = (!ask.path.ends_with("/status")).then_some(&*ask.key);
            self.runtime.block_on(client.send(Method::PUT, &ask.path, &ask.body, key))
        };
        let first = once(ask.by[0]);
        match (&first, ask.by.get(1)) {
            (Err(ClientError::Refused(problem)), Some(then)) if problem.kind == Kind::Forbidden => {
                once(*then)
            }
            _ => first,
        }
    }

    fn insist(&self, ask: &Ask) -> Done {
        let begun = Instant::now();
        loop {
            match self.ask(ask) {
                Ok(done) => return done,
                Err(error) if error.is_passing() && begun.elapsed() < PATIENCE => {
                    sleep(error.retry_after().unwrap_or(Duration::from_millis(3)));
                }
                Err(error) => panic!("{}: {error:?}", ask.path),
            }
        }
    }
}

/// A registry's folder with a copy of a store, or with none.
fn folder(store: Option<&Path>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    if let Some(store) = store {
        copy(store, &store_in(dir.path()), fsck).unwrap();
    }
    dir
}

/// All that a store has, if it is sound and every signature in it is its owner's; but for the hour.
fn proven(dir: &Path) -> Vec<String> {
    let store = Sqlite::open_to_read(&store_in(dir)).unwrap();
    assert_eq!(fsck(&store).unwrap().findings, []);
    let timeless = |line: &String| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        if let Some(release) = line.pointer_mut("/grant/released").and_then(Value::as_object_mut) {
            release.remove("at");
        }
        line.to_string()
    };
    dump(&store).unwrap().iter().map(timeless).collect()
}

/// Who holds slots: what the registry says of its own accord, a moment after there is a slot.
fn tenures(lines: &[String]) -> Vec<&String> {
    lines.iter().filter(|line| line.contains("\"kind\":\"tenure\"")).collect()
}

/// All but that, and the newest revision, which may be its.
fn asked_for(lines: &[String]) -> Vec<&String> {
    let is_newest = |line: &str| line.starts_with("{\"revision\"");
    lines.iter().filter(|line| !line.contains("\"kind\":\"tenure\"") && !is_newest(line)).collect()
}

/// Waits until the registry has said who holds each slot there is.
fn settled(dir: &Path) {
    let begun = Instant::now();
    loop {
        let lines = dump(&Sqlite::open_to_read(&store_in(dir)).unwrap()).unwrap();
        let farms = lines.iter().filter(|line| line.contains("\"model\":{\"farm\":{"));
        let slots: usize = farms.map(|line| line.matches("\"holders\"").count()).sum();
        if tenures(&lines).len() >= slots {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "a slot has no holder: {lines:#?}");
        sleep(Duration::from_millis(3));
    }
}

/// What an undisturbed registry answers to each.
fn undisturbed(dir: &Path, asks: &[Ask]) -> Vec<Done> {
    let hand = Hand::at(address());
    let mut process = Process::start(dir, hand.registry, None);
    assert!(process.listens(), "nothing ends it");
    let answers = asks.iter().map(|ask| hand.insist(ask)).collect();
    settled(dir);
    answers
}

/// Asks a registry that ends at a step. Returns what it answered before, and whether it ended.
fn cut_at(step: usize, dir: &Path, asks: &[Ask]) -> (Vec<Option<Done>>, bool) {
    let hand = Hand::at(address());
    let told = dir.join("steps");
    let mut process = Process::start(dir, hand.registry, Some((step, &told)));
    assert!(process.listens(), "an old store is opened without a commit");
    let answers: Vec<Option<Done>> = asks.iter().map(|ask| hand.ask(ask).ok()).collect();
    let missing = answers.iter().any(Option::is_none);
    // The last step is reached after the answer may have been sent: give it the moment that it takes.
    let has_ended = process.ends_within(if missing { PATIENCE } else { Duration::from_millis(100) });
    assert!(has_ended || !missing, "no answer and no end");
    (answers, has_ended)
}

/// Cuts one part of the life at each of its steps. Returns how many there are.
fn cut_everywhere(name: &str, before: &Path, asks: &[Ask], (answers, after): (&[Done], &[String])) -> usize {
    let unchanged = proven(before.parent().unwrap());
    assert_ne!(unchanged, after, "{name} changes something");
    for step in 1..100 {
        let dir = folder(Some(before));
        let (answered, ended) = cut_at(step, dir.path(), asks);
        let left = proven(dir.path());
        let is_done = asked_for(&left) == asked_for(after);
        assert!(is_done || left == unchanged, "{name}, step {step}: a part of it is there");
        assert!(tenures(&left).starts_with(&tenures(&unchanged)), "{name}, step {step}: a tenure is lost");
        for (first, expected) in answered.iter().zip(answers) {
            assert!(first.as_ref().is_none_or(|first| first == expected), "{name}, step {step}");
        }
        if answered.last().is_some_and(Option::is_some) {
            assert!(is_done, "{name}, step {step}: it was answered and is lost: {left:#?}");
        }
        let again = undisturbed(dir.path(), asks);
        assert_eq!(again.last(), answers.last(), "{name}, step {step}: asked again, another answer");
        assert_eq!(proven(dir.path()), after, "{name}, step {step}: done once");
        if !ended {
            return step - 1;
        }
    }
    panic!("{name} has fewer steps");
}

#[test]
fn whatever_owners_ask_is_done_or_not_and_once_wherever_it_is_cut() {
    let mut dir = folder(None);
    // A registry that begins: its secret and its keys.
    undisturbed(dir.path(), &[]);
    let mut held = Vec::new();
    for (name, is_cut, asks) in LIFE {
        let mut asks = asks(&held);
        asks.iter_mut().for_each(|ask| ask.key = name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
        let before = folder(Some(&store_in(dir.path())));
        let answers = undisturbed(dir.path(), &asks);
        if let Some(done) = answers.iter().find(|done| !done.grants.is_empty()) {
            held.clone_from(&done.grants);
        }
        let after = proven(dir.path());
        if is_cut {
            let steps = cut_everywhere(name, &store_in(before.path()), &asks, (&answers, &after));
            println!("{name}: ended at each of {steps} steps");
            assert!(steps >= 11, "{name}: {steps}");
        }
        dir = folder(Some(&store_in(dir.path())));
    }
}
