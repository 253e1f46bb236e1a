//! Who asks for more than there is, or than they may have, is told so at once, and keeps nobody else waiting.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

use sixfold_core::limit::NODES_PER_NETWORK;
use sixfold_registry::service::Failed;
use sixfold_registry::store::Memory;

use sixfold_core::model::{SlotDraft, SlotKey};

use crate::ground::{Hands, Registry, farm, network, put_farm, put_network, slot};

/// How often too much is asked for.
const TIMES: usize = 5;

/// How long each of these took.
fn told(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |share: usize| took[(took.len() - 1) * share / 100];
    println!("{what}: {} times, p50 {:?}, p99 {:?}, most {:?}", took.len(), at(50), at(99), at(100));
}

#[test]
fn a_request_for_65536_prefixes_is_refused_and_the_service_stays_quick() {
    let registry = Registry::start(Memory::default(), &Hands::at(1_000_000)).furnish(4);
    let done = AtomicUsize::new(0);
    let (asked, honest) = scope(|scope| {
        let honest = scope.spawn(|| {
            let mut took = Vec::new();
            while took.len() < 3000 && (took.is_empty() || done.load(Ordering::SeqCst) < TIMES) {
                let (at, began) = (took.len() % 100 + 1, Instant::now());
                let version = took.len() as u64 / 100 + 1;
                let id = format!("globex/w{at}");
                registry.ask("globex", "", put_network(version, network(&id, 1, [1, 2]))).unwrap();
                took.push(began.elapsed());
            }
            took
        });
        let asked = (0..TIMES).map(|_| {
            let all = put_network(1, network("acme/all", 1, 0..65_535));
            let began = Instant::now();
            let refused = registry.ask("acme", "", all);
            done.fetch_add(1, Ordering::SeqCst);
            (began.elapsed(), refused)
        });
        let asked: Vec<_> = asked.collect();
        (asked, honest.join().unwrap())
    });
    for (_, refused) in &asked {
        let Err(Failed::Refused(refusal)) = refused else { panic!("it was done") };
        let words = refusal.to_string();
        assert!(words.starts_with(&format!("65535 nodes, more than {NODES_PER_NETWORK}")), "{words:.200}");
        assert!(words.len() < 4096, "a refusal of {} bytes", words.len());
    }
    told("asked for 65,536 prefixes", asked.into_iter().map(|(took, _)| took).collect());
    told("an honest tenant meanwhile", honest);
    assert_eq!(registry.service.read(|state| state.ledger().count_of(&"acme".parse().unwrap())), 0);
}

#[test]
fn the_operator_says_how_many_prefixes_a_tenant_may_have() {
    let registry = Registry::with_quota(Memory::default(), &Hands::at(1_000_000), 5).furnish(4);
    registry.ask("acme", "", put_network(1, network("acme/web", 1, [1, 2]))).unwrap();
    let over = registry.refused("acme", "", put_network(1, network("acme/more", 1, [1, 2])));
    assert!(over.starts_with("tenant acme has 3 prefixes and asks for 3 more: its quota is 5; "), "{over}");
    registry.ask("acme", "", put_network(1, network("acme/more", 1, [1]))).unwrap();
    registry.ask("globex", "", put_network(1, network("globex/lab", 1, [1, 2]))).unwrap();
}

#[test]
fn a_slot_that_would_have_no_number_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.db");
    Registry::open(&path, &Hands::at(1)).furnish(2).end();
    // All numbers but the last one, which others have by now.
    let sql = "WITH RECURSIVE n (at) AS (SELECT 2 UNION ALL SELECT at + 1 FROM n WHERE at < 65534)
        INSERT INTO allocations SELECT at, printf('2400:%x::/48', at), NULL, NULL, 1 FROM n";
    rusqlite::Connection::open(&path).unwrap().execute(sql, []).unwrap();
    let registry = Registry::open(&path, &Hands::at(1));
    let with = |version, prefixes: &[&str]| {
        let mut draft = farm(&[(1, 0), (2, 1)]);
        for prefix in prefixes {
            let key = SlotKey { prefix: prefix.parse().unwrap(), ..slot(3) };
            draft.allocations.push(key.prefix);
            draft.slots.push(SlotDraft { key, ..draft.slots[0].clone() });
        }
        put_farm(version, draft)
    };
    let refused = registry.refused("alpha", "", with(3, &["2001:db8:b::/48", "2001:db8:c::/48"]));
    assert!(refused.starts_with("there is no number left for allocation 2001:db8:c::/48; "), "{refused}");
    registry.ask("alpha", "", with(3, &["2001:db8:b::/48"])).unwrap();
    let refused = registry.refused("alpha", "", with(4, &["2001:db8:b::/48", "2001:db8:c::/48"]));
    assert!(refused.starts_with("there is no number left"), "{refused}");
    registry.ask("alpha", "", with(4, &["2001:db8:b::/48"])).expect("what has its number goes on");
}
