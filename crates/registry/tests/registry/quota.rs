//! Who asks for more than there is, or than they may have, is told so at once, and keeps nobody else waiting.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

use sixfold_core::id::Timestamp;
use sixfold_core::limit::NODES_PER_NETWORK;
use sixfold_core::model::{Attachment, NetworkDraft, OwnV4, Quotas, Seat, SlotDraft, SlotKey, WorkloadDraft};
use sixfold_core::state::Backend;
use sixfold_registry::service::{Failed, Held};
use sixfold_registry::store::Memory;

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

/// Of a slot with few blocks and two addresses one tenant has no more than its farmer says, and is told why; the next has its own.
#[test]
fn one_tenant_takes_neither_the_last_ports_nor_the_last_address() {
    let registry = Registry::start(Memory::default(), &Hands::at(1_000_000)).furnish(2);
    let mut alpha = farm(&[(1, 0), (2, 1)]);
    alpha.slots[0] = SlotDraft {
        public_v4: Some("203.0.113.5/24".parse().unwrap()),
        default_v4: Some("203.0.113.1".parse().unwrap()),
        pool_v4: (20..22).map(|last| [203, 0, 113, last].into()).collect(),
        ports: Some(16_384),
        quotas: Quotas { blocks: Some(2), addresses: None },
        ..alpha.slots[0].clone()
    };
    registry.ask("alpha", "", put_farm(3, alpha.clone())).unwrap();
    let with_own = |id: &str| {
        let workload = WorkloadDraft {
            name: "w".parse().unwrap(),
            node: "n1".parse().unwrap(),
            number: None,
            attachment: Attachment::default(),
            ipv6_only: false,
            nic: None,
        };
        let own_v4 = OwnV4 { whole: Some("w".parse().unwrap()), ..OwnV4::default() };
        NetworkDraft { workloads: vec![workload], own_v4, ..network(id, 1, [1]) }
    };
    let put = |version: u64, id: &str| {
        let op = put_network(version, with_own(id));
        let told = registry.service.preview(&op, Timestamp(1_000_000)).unwrap().plan(|_| Backend::Kernel);
        let done = registry.ask(id.split('/').next().unwrap(), "", op).unwrap();
        let exit = |held: &[Held]| held.iter().find(|held| held.seat == Seat::Exit).cloned().unwrap();
        let (foretold, held) = (exit(&told.grants), exit(&done.grants));
        assert_eq!(foretold, held, "{id}");
        (held.ports.is_some(), held.own_v4.is_some(), held.over_quota)
    };
    assert_eq!(put(1, "acme/a"), (true, true, false));
    assert_eq!(put(1, "acme/b"), (true, false, true), "no second address: one of two is the default");
    assert_eq!(put(1, "acme/c"), (false, false, true), "no third block");
    assert_eq!(put(1, "globex/lab"), (true, true, false), "the last ones are another tenant's");
    assert_eq!(put(1, "globex/more"), (false, false, false), "and then none are left");
    // A farmer who says less takes nothing away.
    alpha.slots[0].quotas.blocks = Some(1);
    registry.ask("alpha", "", put_farm(4, alpha)).unwrap();
    assert_eq!(put(2, "acme/b"), (true, false, true));
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
