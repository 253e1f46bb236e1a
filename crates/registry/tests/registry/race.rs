//! Eight callers fill one slot while the service is killed again and again: no prefix twice, none lost that was
//! answered, none leaked. `SIXFOLD_ROUNDS` says how often; in CI a few.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::BufReader;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

use sixfold_core::id::Revision;
use sixfold_core::model::ResourceKey;
use sixfold_registry::service::Held;
use sixfold_registry::store::{Record, Sqlite, Store as _};

use crate::process::{Process, ask, connect, furnished, proven};

const CALLERS: usize = 8;

/// Nodes of each network: with its exit point it takes 64 prefixes, and 64 of them fill a slot.
const NODES: usize = 63;

/// What was answered: each network's prefixes.
type Answered = BTreeMap<String, Vec<Held>>;

/// Asks for networks until the slot is full. What gets no answer is asked for again, with the same key.
fn call(caller: usize, socket: &Path, ended: &AtomicUsize) -> Answered {
    let nodes: Vec<String> = (0..NODES).map(|at| format!("n{at}")).collect();
    let mut answered = Answered::new();
    let mut stream = None;
    for count in 0.. {
        let network = format!("t{caller}/w{count}");
        let request = format!("put k{count} {network} 1 1 {}", nodes.join(","));
        let outcome = (0..10_000).find_map(|_| {
            if stream.is_none() {
                stream = connect(socket, || false).map(BufReader::new);
            }
            let outcome = ask(stream.as_mut()?, &request);
            if outcome.is_none() {
                stream = None;
            }
            outcome
        });
        match outcome.expect("a service comes back") {
            Ok(done) => drop(answered.insert(network, done.grants)),
            Err(why) => {
                assert!(why.starts_with("exit slot 1 of 2001:db8:a::/48 is full"), "{why}");
                break;
            }
        }
    }
    ended.fetch_add(1, Ordering::SeqCst);
    answered
}

/// One slot filled. Returns how often the service was killed.
fn round(seed: u64, template: &Path) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("registry.db");
    fs::copy(template, &store).unwrap();
    let socket = store.with_extension("socket");
    let ended = AtomicUsize::new(0);
    let (answered, kills) = scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                scope.spawn({
                    let (socket, ended) = (&socket, &ended);
                    move || call(caller, socket, ended)
                })
            })
            .collect();
        let (mut kills, mut draw) = (0, seed);
        while ended.load(Ordering::SeqCst) < CALLERS {
            let process = Process::start(&store, None, None);
            // Drawn anew each time: from before it listens to long after.
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            sleep(Duration::from_millis(10 + (draw >> 33) % 150));
            process.kill();
            kills += 1;
            assert!(kills < 10_000, "it never gets anywhere");
        }
        let answered: Vec<Answered> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
        (answered, kills)
    });
    let proven = proven(&store);
    let mut seen: BTreeSet<ResourceKey> = BTreeSet::new();
    let mut ledger = BTreeMap::new();
    let store = Sqlite::open_to_read(&store).unwrap();
    store
        .read(Revision(0), &mut |record, _| {
            if let Record::Grant(key, grant, _) = record {
                ledger.insert(key, grant);
            }
        })
        .unwrap();
    for (network, held) in answered.iter().flatten() {
        assert_eq!(held.len(), NODES + 1);
        for held in held {
            assert!(seen.insert(held.resource), "{network} and another have {}", held.resource.index);
            let grant = &ledger[&held.resource];
            assert_eq!(
                (grant.network.to_string(), &grant.seat),
                (network.clone(), &held.seat),
                "it was answered and is lost"
            );
            assert!(grant.is_live() && grant.generation == held.generation);
        }
    }
    assert_eq!(proven.live, 4096, "the slot is full");
    assert_eq!(seen.len(), proven.live, "a grant that nobody was told of has leaked");
    kills
}

#[test]
fn eight_callers_fill_a_slot_while_the_service_is_killed() {
    let rounds =
        std::env::var("SIXFOLD_ROUNDS").map_or(3, |text| text.parse().expect("SIXFOLD_ROUNDS is a number"));
    let dir = tempfile::tempdir().unwrap();
    let template = dir.path().join("template.db");
    furnished(&template, NODES);
    let kills: usize = (0..rounds).map(|round_number| round(round_number, &template)).sum();
    println!(
        "{rounds} rounds, {CALLERS} callers, 4096 prefixes each, {kills} kills: none twice, none lost, none leaked"
    );
    assert!(rounds == 0 || kills > 0);
}
