//! What a tenant who asks for long leaves behind: no more than is said, in the store and in the writer's queue; and a request
//! that is asked again gets what it got, out of the ledger.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use sixfold_core::id::{Generation, NodeId, Revision, Timestamp};
use sixfold_core::model::{Grant, Seat};
use sixfold_core::trust::SigningKey;
use sixfold_registry::fsck::fsck_unsigned;
use sixfold_registry::seal::Signing;
use sixfold_registry::service::{Done, Failed, Op, Outcome, Refusal, limit};
use sixfold_registry::store::{Group, Memory, Record, Sqlite, Store};
use tokio::sync::oneshot;

use crate::by::By;
use crate::ground::{Hands, Registry, network, put_network, remove_network, request};

fn signed(path: &Path, clock: &Hands) -> Registry {
    let sealer = Box::new(Signing { key: SigningKey::from_seed(&[7; 32]), operator: None });
    Registry::sealed(Sqlite::open(path).unwrap(), clock, Some(sealer))
}

/// Asks for all of these, as many at a time as one asker may.
fn ask_all(registry: &Registry, who: &str, asks: &[(String, Op)]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for some in asks.chunks(limit::WAITING_PER_ASKER) {
        let submit =
            |(key, op): &(String, Op)| registry.service.submit(request(who, key, op.clone())).unwrap();
        let waiting: Vec<oneshot::Receiver<Outcome>> = some.iter().map(submit).collect();
        outcomes.extend(waiting.into_iter().map(|outcome| outcome.blocking_recv().unwrap()));
    }
    outcomes
}

/// Says of every node that it has nothing any more of what is released by now.
fn all_in_sync(registry: &Registry) {
    let (nodes, revision): (Vec<NodeId>, Revision) = registry
        .service
        .read(|state| (state.world().nodes().map(|(_, node)| node.id().clone()).collect(), state.revision()));
    for node in nodes {
        registry.ask(node.as_str(), "", Op::InSync { node: node.clone(), revision }).unwrap();
    }
}

/// Bytes of a document: about a signed network's.
const DOCUMENT: usize = 400;

/// Puts each of these networks and deletes it, in so many rounds, each request with a key of its own.
fn churn(registry: &Registry, names: usize, rounds: std::ops::Range<u64>) -> Vec<Failed> {
    let mut failed = Vec::new();
    for round in rounds {
        for (what, version) in [("put", 2 * round + 1), ("no", 2 * round + 2)] {
            let op = |at: usize| match what {
                "put" => put_network(version, network(&format!("acme/n{at}"), 1, [at % 3])),
                _ => remove_network(version, &format!("acme/n{at}")),
            };
            let asks = (0..names).map(|at| (format!("{what}-{at}-{round}"), padded(op(at), DOCUMENT)));
            let outcomes = ask_all(registry, "acme", &asks.collect::<Vec<_>>());
            failed.extend(outcomes.into_iter().filter_map(Result::err));
        }
        // What is released rests until its nodes are in sync, and counts.
        all_in_sync(registry);
    }
    failed
}

/// The same in so many bytes.
fn padded(mut op: Op, bytes: usize) -> Op {
    if let Op::PutNetwork { said, .. } | Op::RemoveNetwork { said, .. } = &mut op {
        let mut body = said.body.to_vec();
        body.resize(bytes, b' ');
        said.body = body.into();
    }
    op
}

/// Bytes of all records but events, of which there is a ring for everybody together.
fn kept(path: &Path) -> i64 {
    let of = [
        "SELECT sum(length(name) + length(body) + length(model)) FROM documents",
        "SELECT sum(length(network) + length(seat) + coalesce(length(path) + length(holders), 0)) FROM grants",
        "SELECT sum(length(body)) FROM seals",
        "SELECT sum(length(who) + length(key) + length(request)) FROM answers",
    ];
    let connection = rusqlite::Connection::open(path).unwrap();
    of.iter().map(|sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()).sum()
}

#[test]
fn a_tenant_who_puts_and_deletes_for_long_fills_no_store() {
    const NAMES: usize = 512;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.db");
    let clock = Hands::at(1_000_000);
    let bytes = || std::fs::metadata(&path).unwrap().len();
    signed(&path, &clock).furnish(3).end();
    let empty = bytes();
    let registry = signed(&path, &clock);
    assert_eq!(churn(&registry, NAMES, 0..2).len(), 0);
    registry.end();
    // All the other names that there may be, each deleted like the first.
    let sql = "WITH RECURSIVE n (at) AS (SELECT ?1 UNION ALL SELECT at + 1 FROM n WHERE at < ?2 - 1)
        INSERT INTO documents SELECT kind, 'acme/n' || at, version, body, model, revision FROM documents, n
        WHERE kind = 'network' AND name = 'acme/n0'";
    let others = [NAMES, limit::NAMES_PER_TENANT].map(|at| i64::try_from(at).unwrap());
    rusqlite::Connection::open(&path).unwrap().execute(sql, others).unwrap();
    let (all_names, before) = (bytes(), kept(&path));

    // From there on nothing grows, whatever comes and goes.
    let registry = signed(&path, &clock);
    let words = registry.refused("acme", "", put_network(1, network("acme/more", 1, [1])));
    assert_eq!(
        words,
        "tenant acme has given 8192 names to networks, as many as a tenant may; use the name of a network that was deleted again"
    );
    registry.ask("globex", "", put_network(1, network("globex/lab", 1, [1]))).unwrap();
    let stale = registry.ask("acme", "", put_network(1, network("acme/n8191", 1, [1])));
    assert!(matches!(stale, Err(Failed::Refused(Refusal::Stale { .. }))), "a deleted one: {stale:?}");
    assert_eq!(churn(&registry, NAMES, 2..5).len(), 0);
    registry.end();
    let proven = fsck_unsigned(&Sqlite::open_to_read(&path).unwrap()).unwrap();
    assert_eq!(proven.findings, []);
    assert_eq!(proven.answers, limit::ANSWERS_PER_ASKER, "the newest");
    println!("{empty} bytes at first, {all_names} with all names, {} after three more rounds", bytes());
    assert!(bytes() - empty < limit::STORE_BYTES_PER_TENANT as u64);
    assert!(kept(&path) <= before + before / 100, "{} after {before}", kept(&path));
}

#[test]
fn what_a_tenant_says_is_bounded_over_all_its_networks() {
    let registry = Registry::start(Memory::default(), &Hands::at(1)).furnish(2);
    let put = |version: u64, at: usize, bytes: usize| {
        padded(put_network(version, network(&format!("acme/n{at}"), 1, [1])), bytes)
    };
    let full = limit::BYTES_PER_TENANT / limit::DOCUMENT_BYTES_MAX;
    for at in 0..full {
        registry.ask("acme", "", put(1, at, limit::DOCUMENT_BYTES_MAX)).unwrap();
    }
    let words = registry.refused("acme", "", put(1, full, 7));
    assert_eq!(
        words,
        "what tenant acme says of its networks would be 16777223 bytes, more than 16777216; say less in some of them, or delete some"
    );
    registry.ask("acme", "", put(2, 0, 1000)).unwrap();
    registry.ask("acme", "", put(1, full, 7)).unwrap();
    registry.ask("acme", "", remove_network(2, "acme/n1")).unwrap();
    let spoken = registry.service.read(|state| state.spoken_by(&"acme".parse().unwrap()));
    assert_eq!(spoken.names, full + 1, "a deleted one is counted");
    assert_eq!(spoken.bytes, (full - 2) * limit::DOCUMENT_BYTES_MAX + 1000 + 7 + b"no acme/n1".len());
}

/// The answer that is given again is made of the ledger: as it was, as long as that has it.
#[test]
fn a_request_asked_again_gets_its_grants_until_they_are_anothers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.db");
    let clock = Hands::at(1_000_000);
    let start = || Registry::open(&path, &clock);
    let registry = start().furnish(3);
    let first = || put_network(1, network("acme/web", 1, [1, 2]));
    let again = |registry: &Registry| registry.ask("acme", "k", first()).unwrap();
    let done = again(&registry);
    // One that is taken off rests, and is told as it was; also by a registry that begins anew.
    registry.ask("acme", "", put_network(2, network("acme/web", 1, [1]))).unwrap();
    assert_eq!(again(&registry), done);
    registry.end();
    let registry = start();
    assert_eq!(again(&registry), done);
    // One that its seat takes again is told as it is.
    registry.ask("acme", "", put_network(3, network("acme/web", 1, [1, 2]))).unwrap();
    let of = |done: &Done, seat: &str| {
        let seat = Seat::Node(seat.parse().unwrap());
        done.grants.iter().find(|held| held.seat == seat).cloned()
    };
    let taken_again = of(&again(&registry), "n2").unwrap();
    assert_eq!(taken_again.resource, of(&done, "n2").unwrap().resource);
    assert_eq!(taken_again.generation, Generation(2));
    // Another slot's are not what was asked for then.
    registry.ask("acme", "", put_network(4, network("acme/web", 2, [1, 2]))).unwrap();
    assert!(again(&registry).grants.iter().all(|held| held.resource.index.slot().get() == 1));
    // What is anybody's by now is nobody's word any more: the whole slot is another's.
    registry.ask("acme", "", remove_network(5, "acme/web")).unwrap();
    all_in_sync(&registry);
    let fill = |who: &'static str| {
        let op = move |at: usize| put_network(1, network(&format!("{who}/n{at}"), 1, [at % 3]));
        (0..1024).map(|at| (String::new(), op(at))).collect::<Vec<_>>()
    };
    for who in ["globex", "initech"] {
        let full = ask_all(&registry, who, &fill(who));
        assert_eq!(full.iter().filter(|outcome| outcome.is_err()).count(), 0);
    }
    assert_eq!(again(&registry), Done { grants: Vec::new(), ..done });
}

/// Where commits wait while somebody holds it, and how many came there.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<()>, AtomicUsize)>);

impl Gate {
    fn hold(&self) -> MutexGuard<'_, ()> {
        self.0.0.lock().unwrap()
    }

    fn came(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }

    /// A store that commits through it.
    fn before<S: Store + 'static>(&self, store: S) -> impl Store + use<S> {
        let gate = self.clone();
        By::new(store, move |store: &mut S, group: &Group| {
            gate.0.1.fetch_add(1, Ordering::SeqCst);
            let _open = gate.hold();
            store.commit(group)
        })
    }
}

#[test]
fn one_askers_requests_leave_room_in_the_queue() {
    let gate = Gate::default();
    let registry = Registry::start(gate.before(Memory::default()), &Hands::at(1)).furnish(2);
    let held = gate.hold();
    let put = |who: &str, at: usize| {
        let op = put_network(1, network(&format!("{who}/n{at}"), 1, [1]));
        registry.service.submit(request(who, "", op))
    };
    let waiting: Vec<_> = (0..limit::WAITING_PER_ASKER).map(|at| put("acme", at).unwrap()).collect();
    let refused = put("acme", 99).unwrap_err();
    assert_eq!(
        format!("{refused}; {}", refused.hint()),
        "32 requests of acme wait already; ask again in a moment, with the same key"
    );
    let other = put("globex", 0).unwrap();
    drop(held);
    for outcome in waiting.into_iter().chain([other]) {
        outcome.blocking_recv().unwrap().unwrap();
    }
    put("acme", 99).unwrap().blocking_recv().unwrap().unwrap();
}

/// What is granted and given back in one commit is signed as all is, or no check of the store would ever pass again.
#[test]
fn what_is_put_and_deleted_in_one_commit_is_sealed_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.db");
    let gate = Gate::default();
    let sealer = Box::new(Signing { key: SigningKey::from_seed(&[7; 32]), operator: None });
    let store = gate.before(Sqlite::open(&path).unwrap());
    let registry = Registry::sealed(store, &Hands::at(1), Some(sealer)).furnish(2);
    let (held, came) = (gate.hold(), gate.came());
    let ask = |op: Op| registry.service.submit(request("acme", "", op)).unwrap();
    let first = ask(put_network(1, network("acme/first", 1, [1])));
    while gate.came() == came {
        std::thread::yield_now();
    }
    // These are the next commit's.
    let both = [ask(put_network(1, network("acme/web", 1, [1]))), ask(remove_network(2, "acme/web"))];
    drop(held);
    first.blocking_recv().unwrap().unwrap();
    let [put, gone] = both.map(|outcome| outcome.blocking_recv().unwrap().unwrap());
    assert_eq!((put.revision, put.grants.len(), gone.grants.len()), (gone.revision, 2, 0));
    registry.end();
    let (mut proven, mut bare) = (0, Vec::new());
    Sqlite::open_to_read(&path)
        .unwrap()
        .read(Revision(0), &mut |record, _| match record {
            Record::Grant(_, _, Some(_)) => proven += 1,
            Record::Grant(key, grant, None) => bare.push((key, grant)),
            _ => {}
        })
        .unwrap();
    assert_eq!((proven, bare), (4, Vec::new()));
}

/// What a network of many nodes released is written once more when the last of them has nothing of it any more, and not for
/// each; a registry that starts again hears of all of them again.
#[test]
fn a_release_is_written_twice_however_many_nodes_it_waits_for() {
    const NODES: usize = 24;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.db");
    let clock = Hands::at(1_000_000);
    let registry = Registry::open(&path, &clock).furnish(NODES);
    // The farm is not left empty.
    registry.ask("globex", "", put_network(1, network("globex/lab", 2, [1]))).unwrap();
    registry.ask("acme", "", put_network(1, network("acme/web", 1, 0..NODES))).unwrap();
    let released = registry.ask("acme", "", remove_network(2, "acme/web")).unwrap().revision;
    let resting = |registry: &Registry| {
        let rests = |grant: &&Grant| !grant.is_live() && !grant.is_over(Timestamp(1_000_001));
        registry.service.read(|state| state.ledger().grants().values().filter(rests).count())
    };
    let report = |registry: &Registry, nodes: std::ops::Range<usize>| {
        for at in nodes {
            let node: NodeId = format!("n{at}").parse().unwrap();
            let op = Op::InSync { node: node.clone(), revision: released };
            registry.ask(node.as_str(), "", op).unwrap();
        }
    };
    report(&registry, 0..NODES - 1);
    assert_eq!(resting(&registry), NODES + 1);
    assert_eq!(registry.service.read(|state| state.revision()), released, "nothing is written");
    registry.end();
    let registry = Registry::open(&path, &clock);
    report(&registry, NODES - 1..NODES);
    assert_eq!(resting(&registry), NODES + 1, "it has not heard of the others");
    report(&registry, 0..NODES - 1);
    assert_eq!(resting(&registry), 0);
    assert_eq!(registry.service.read(|state| state.revision()), released.next(), "all at once");
}
