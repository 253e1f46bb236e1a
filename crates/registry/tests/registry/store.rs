//! What every store must do, asked of each one there is, plain and behind what fails, delays, repeats and tears.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use proptest::prelude::*;
use sixfold_api::event::{Event, EventKind, Happened};
use sixfold_core::addr::Allocation;
use sixfold_core::id::{Generation, Revision, Timestamp};
use sixfold_core::model::{Grant, PortBlock, ResourceKey, Seat};
use sixfold_registry::store::{
    Answer, AnswerKey, Compared, Document, DocumentId, Forget, Group, Kind, Memory, Model, Proof, Record,
    SCHEMA_VERSION, Sqlite, Store, StoreError, Told,
};

use crate::by::By;
use crate::ground::label;

/// A store whose every other commit finds the disk full, before anything is written.
fn fails<S: Store + 'static>(store: S) -> Box<dyn Store> {
    let mut is_full = false;
    Box::new(By::new(store, move |store: &mut S, group: &Group| {
        is_full = !is_full;
        if is_full { Err(StoreError::Full) } else { store.commit(group) }
    }))
}

/// A store that is slow.
fn delays<S: Store + 'static>(store: S) -> Box<dyn Store> {
    let slow = By::new(store, |store: &mut S, group: &Group| {
        sleep(Duration::from_millis(1));
        store.commit(group)
    });
    Box::new(By { reading: || sleep(Duration::from_millis(1)), ..slow })
}

/// A store that gets each group twice, as over a network that lost the first answer: the second must find that what it
/// compares has changed.
fn repeats<S: Store + 'static>(store: S) -> Box<dyn Store> {
    Box::new(By::new(store, |store: &mut S, group: &Group| {
        let revision = store.commit(group)?;
        if !group.compares.is_empty() {
            let second = store.commit(group);
            assert!(matches!(second, Err(StoreError::Conflict { .. })), "{second:?}");
        }
        Ok(revision)
    }))
}

fn key(number: u16, index: u16) -> ResourceKey {
    ResourceKey { number: number.try_into().unwrap(), index: index.try_into().unwrap() }
}

fn grant(tenant: &str, seat: &str, generation: u32) -> Grant {
    let seat = if seat == "exit" { Seat::Exit } else { Seat::Node(seat.parse().unwrap()) };
    let first = 1024 + u16::try_from(generation).unwrap() * 1024;
    let ports = (seat == Seat::Exit).then(|| PortBlock::new(first, first + 1023).unwrap());
    Grant { ports, ..Grant::new(format!("{tenant}/web").parse().unwrap(), seat, Generation(generation)) }
}

fn released(grant: &Grant) -> Grant {
    grant.release(Timestamp(7), ["n1".parse().unwrap(), "n2".parse().unwrap()].into())
}

fn numbered(number: u16) -> (Allocation, Option<Arc<[u8]>>) {
    let prefix = format!("2001:db8:{number:x}::/48").parse().unwrap();
    (Allocation::new(prefix, number.try_into().unwrap()).unwrap(), None)
}

fn document(version: u64, text: &str) -> Document {
    Document { version, body: text.as_bytes().into(), model: Model::Bytes }
}

fn id(name: &str) -> DocumentId {
    DocumentId { kind: Kind::Rotation, name: name.to_owned() }
}

fn answer(key: &str, at: u64) -> (AnswerKey, Answer) {
    (AnswerKey { who: label("acme"), key: key.to_owned() }, Answer { request: [7; 32], at: Timestamp(at) })
}

fn grants(of: impl IntoIterator<Item = (ResourceKey, Grant)>) -> Group {
    Group { grants: of.into_iter().map(|(key, grant)| (key, (grant, None))).collect(), ..Group::default() }
}

fn documents(of: impl IntoIterator<Item = (DocumentId, Document)>) -> Group {
    Group { documents: of.into_iter().collect(), ..Group::default() }
}

/// Commits, and again where the disk was full.
fn write(store: &mut dyn Store, group: &Group) -> Revision {
    match store.commit(group) {
        Err(StoreError::Full) => store.commit(group).unwrap(),
        other => other.unwrap(),
    }
}

fn refused(store: &mut dyn Store, group: &Group) -> StoreError {
    match store.commit(group) {
        Err(StoreError::Full) => store.commit(group).unwrap_err(),
        other => other.unwrap_err(),
    }
}

/// All records with their revisions, in order.
fn all(store: &dyn Store, since: u64) -> (u64, Vec<String>) {
    let mut found = Vec::new();
    let head =
        store.read(Revision(since), &mut |record, at| found.push(format!("{at}: {record:?}"))).unwrap();
    found.sort();
    (head.0, found)
}

fn prepared(store: &mut dyn Store) -> Revision {
    write(store, &Group { allocations: vec![numbered(1), numbered(2)], ..Group::default() })
}

type Case = fn(&mut dyn Store);

const CASES: [(&str, Case); 12] = [
    ("a new store has nothing", |store| assert_eq!(all(store, 0), (0, Vec::new()))),
    ("what is written is read, since when it was written", |store| {
        prepared(store);
        let first = write(store, &grants([(key(1, 0x1001), grant("acme", "exit", 1))]));
        let second = write(store, &documents([(id("a"), document(3, "three"))]));
        let third = write(store, &grants([(key(1, 0x1001), released(&grant("acme", "exit", 1)))]));
        assert_eq!((first, second, third), (Revision(2), Revision(3), Revision(4)));
        assert_eq!((all(store, 0).0, all(store, 0).1.len()), (4, 4));
        let mut seen = BTreeMap::new();
        store.read(first, &mut |record, at| drop(seen.insert(at, record))).unwrap();
        assert_eq!(seen.len(), 2, "the grant as it is now, and the document");
        assert_eq!(seen[&second], Record::Document(id("a"), document(3, "three")));
        let Record::Grant(_, now, None) = &seen[&third] else { panic!("{seen:?}") };
        let release = now.released.as_ref().unwrap();
        assert_eq!((release.revision, release.at, release.holders.len()), (third, Timestamp(7), 2));
        assert_eq!(all(store, 4), (4, Vec::new()));
    }),
    ("what changed since it was read is told, and nothing is written", |store| {
        let at = prepared(store);
        let later = write(store, &grants([(key(1, 0x1001), grant("acme", "exit", 1))]));
        write(store, &documents([(id("a"), document(1, "a"))]));
        let (name, kept) = answer("k", 1);
        write(store, &Group { answers: [(name.clone(), kept)].into(), ..Group::default() });
        let network = |name: &str| DocumentId { kind: Kind::Network, name: name.to_owned() };
        write(store, &documents([(network("acme/web"), document(1, "n"))]));
        write(store, &documents([(network("acme-two/web"), document(1, "n"))]));
        let slot =
            |number: u16, slot: u8| Compared::Slot(number.try_into().unwrap(), slot.try_into().unwrap());
        let stale = [
            (Compared::Allocations, Revision(0), at),
            (slot(1, 1), at, later),
            (slot(1, 2), at, Revision(0)),
            (Compared::Document(id("a")), Revision(0), Revision(3)),
            (Compared::Document(id("b")), Revision(3), Revision(0)),
            (Compared::Kind(Kind::Rotation), Revision(2), Revision(3)),
            (Compared::Kind(Kind::Farm), Revision(3), Revision(0)),
            (Compared::Tenant("acme".parse().unwrap()), Revision(6), Revision(5)),
            (Compared::Tenant("acme-two".parse().unwrap()), Revision(5), Revision(6)),
            (Compared::Tenant("acm".parse().unwrap()), Revision(5), Revision(0)),
            (Compared::Answer(name), Revision(0), Revision(4)),
        ];
        let first = all(store, 0).0;
        for (at, (compared, read, found)) in stale.into_iter().enumerate() {
            let before = all(store, 0);
            let mut group = documents([(id("c"), document(1, "c"))]);
            group.compares.insert(compared.clone(), read);
            match refused(store, &group) {
                StoreError::Conflict { key, read: was, found: is } => {
                    assert_eq!((key, was, is), (compared.clone(), read, found));
                }
                other => panic!("{other}"),
            }
            assert_eq!(all(store, 0), before, "nothing is written");
            // A right one is no obstacle; what it writes is of a kind that none of them compares.
            group.compares.insert(compared, found);
            let confirm = DocumentId { kind: Kind::Confirm, name: format!("d{at}") };
            group.compares.insert(Compared::Document(confirm.clone()), Revision(0));
            group.documents = [(confirm, document(1, "d"))].into();
            assert_eq!(write(store, &group), Revision(first + 1 + at as u64));
        }
        let last = Revision(all(store, 0).0);
        let mut right = documents([(id("a"), document(2, "b"))]);
        right.compares = [
            (Compared::Allocations, at),
            (slot(1, 1), later),
            (slot(2, 2), Revision(0)),
            (Compared::Document(id("a")), Revision(3)),
            (Compared::Kind(Kind::Rotation), Revision(3)),
            (Compared::Kind(Kind::Node), Revision(0)),
        ]
        .into();
        assert_eq!(write(store, &right), last.next());
    }),
    ("a prefix changes hands only with a higher generation", |store| {
        prepared(store);
        let held = key(1, 0x1001);
        write(store, &grants([(held, grant("acme", "exit", 2))]));
        let wrong = [
            grant("acme", "exit", 1),
            grant("globex", "exit", 2),
            grant("acme", "n1", 2),
            grant("acme", "exit", 0),
        ];
        for wrong in wrong {
            let before = all(store, 0);
            assert!(matches!(refused(store, &grants([(held, wrong)])), StoreError::Refused { .. }));
            assert_eq!(all(store, 0), before);
        }
        write(store, &grants([(held, released(&grant("acme", "exit", 2)))]));
        assert!(matches!(
            refused(store, &grants([(held, grant("acme", "exit", 2))])),
            StoreError::Refused { .. }
        ));
        write(store, &grants([(held, grant("globex", "n1", 3))]));
    }),
    ("a seat has one prefix in force, and may move in one commit", |store| {
        prepared(store);
        let (low, high) = (key(1, 0x1001), key(2, 0x2002));
        write(store, &grants([(high, grant("acme", "n1", 1))]));
        assert!(matches!(
            refused(store, &grants([(low, grant("acme", "n1", 1))])),
            StoreError::Refused { .. }
        ));
        write(store, &grants([(low, grant("acme", "n1", 1)), (high, released(&grant("acme", "n1", 1)))]));
        write(store, &grants([(low, released(&grant("acme", "n1", 1))), (high, grant("acme", "n1", 2))]));
    }),
    ("a number is one allocation's for ever, and a grant is of a numbered one", |store| {
        prepared(store);
        let again = [
            numbered(1),
            (Allocation::new("2001:db8:7::/48".parse().unwrap(), 1_u16.try_into().unwrap()).unwrap(), None),
        ];
        let other =
            (Allocation::new("2001:db8:1::/48".parse().unwrap(), 3_u16.try_into().unwrap()).unwrap(), None);
        for wrong in again.into_iter().chain([other]) {
            let group = Group { allocations: vec![wrong], ..Group::default() };
            assert!(matches!(refused(store, &group), StoreError::Refused { .. }));
        }
        let nowhere = grants([(key(9, 0x1001), grant("acme", "exit", 1))]);
        assert!(matches!(refused(store, &nowhere), StoreError::Refused { .. }));
    }),
    ("the version of a document only grows", |store| {
        write(store, &documents([(id("a"), document(2, "two"))]));
        for wrong in [0, 1, 2] {
            let group = documents([(id("a"), document(wrong, "other")), (id("b"), document(1, "b"))]);
            assert!(matches!(refused(store, &group), StoreError::Refused { .. }));
        }
        assert_eq!(all(store, 0).1.len(), 1, "all of a group or nothing");
        write(store, &documents([(id("a"), document(3, "three"))]));
    }),
    ("an answer is kept, once, until it is old", |store| {
        let of = |at: u64, forget: u64, key: &str| Group {
            answers: [answer(key, at)].into(),
            forget: Forget { before: Timestamp(forget), ..Forget::default() },
            ..Group::default()
        };
        write(store, &of(10, 0, "a"));
        assert!(matches!(refused(store, &of(11, 0, "a")), StoreError::Refused { .. }));
        write(store, &of(20, 10, "b"));
        assert_eq!(store.answer(&answer("a", 10).0).unwrap(), Some((answer("a", 10).1, Revision(1))));
        write(store, &of(30, 11, "c"));
        assert_eq!(store.answer(&answer("a", 10).0).unwrap(), None);
        assert_eq!(store.answer(&answer("b", 20).0).unwrap(), Some((answer("b", 20).1, Revision(2))));
        assert_eq!(all(store, 0).1, Vec::<String>::new(), "answers are not read with the rest");
    }),
    ("of one asker's answers the newest are kept, and those of others stay", |store| {
        let of = |who: &str, key: &str| {
            let (name, kept) = answer(key, 1);
            (AnswerKey { who: label(who), ..name }, kept)
        };
        let some = |answers: &[(&str, &str)], beyond| Group {
            answers: answers.iter().map(|(who, key)| of(who, key)).collect(),
            forget: Forget { beyond, ..Forget::default() },
            ..Group::default()
        };
        write(store, &some(&[("acme", "c"), ("globex", "a")], 2));
        write(store, &some(&[("acme", "a"), ("initech", "z")], 2));
        // Of one commit's the last by name are the newest.
        write(store, &some(&[("acme", "d"), ("acme", "b")], 3));
        let kept = |store: &dyn Store, who: &str| {
            let there = ["a", "b", "c", "d", "z"].into_iter();
            there.filter(|key| store.answer(&of(who, key).0).unwrap().is_some()).collect::<String>()
        };
        assert_eq!([kept(store, "acme"), kept(store, "globex"), kept(store, "initech")], ["abd", "a", "z"]);
        write(store, &some(&[("acme", "c")], 2));
        assert_eq!([kept(store, "acme"), kept(store, "globex")], ["cd", "a"]);
    }),
    ("a seal goes with the last that stands on it, and not before", |store| {
        let bytes = |text: &str| -> Option<Arc<[u8]>> { Some(text.as_bytes().into()) };
        prepared(store);
        let sealed = |index: u16, generation, unsealed: &[Revision]| {
            let mut group = Group { seal: bytes("seal"), ..Group::default() };
            let grant = grant("acme", &format!("n{index}"), generation);
            group.grants.insert(key(1, 0x1000 + index), (grant, bytes("path")));
            group.unsealed = unsealed.iter().copied().collect();
            group
        };
        let mut both = sealed(1, 1, &[]);
        both.grants.extend(sealed(2, 1, &[]).grants);
        let first = write(store, &both);
        let before = all(store, 0);
        assert!(matches!(refused(store, &sealed(1, 2, &[first])), StoreError::Refused { .. }));
        assert_eq!(all(store, 0), before);
        let second = write(store, &sealed(1, 2, &[]));
        let third = write(store, &sealed(2, 2, &[first]));
        let mut left = Vec::new();
        store
            .read(Revision(0), &mut |record, at| left.extend(matches!(record, Record::Seal(_)).then_some(at)))
            .unwrap();
        left.sort();
        assert_eq!(left, [second, third]);
    }),
    ("what happened is kept in order, with a commit or without, until it is forgotten", |store| {
        let event = |number| {
            let what = Happened::new(EventKind::NodeSilent).text(format!("the {number}th"));
            Event { number, at_secs: 7, what }
        };
        let told =
            |numbers: &[u64], forget| Told { events: numbers.iter().copied().map(event).collect(), forget };
        store.keep(&told(&[3, 5], 0)).or_else(|_| store.keep(&told(&[3, 5], 0))).unwrap();
        let head = all(store, 0).0;
        let group = Group { told: told(&[8, 9], 3), ..documents([(id("a"), document(1, "one"))]) };
        assert_eq!(write(store, &group).0, head + 1);
        assert_eq!(store.told().unwrap(), [5, 8, 9].map(event));
        // Of a group that is refused nothing is told, and no number says two things.
        let group = Group { told: told(&[10], 9), ..documents([(id("a"), document(1, "again"))]) };
        refused(store, &group);
        assert!(matches!(store.keep(&told(&[9], 0)), Err(StoreError::Refused { .. } | StoreError::Full)));
        assert_eq!(store.told().unwrap(), [5, 8, 9].map(event));
    }),
    ("what is sealed keeps its path until it is granted again", |store| {
        let path = |text: &str| -> Option<Arc<[u8]>> { Some(text.as_bytes().into()) };
        let mut group = Group { seal: path("seal"), allocations: vec![numbered(1)], ..Group::default() };
        group.allocations[0].1 = path("number");
        group.grants.insert(key(1, 0x1001), (grant("acme", "exit", 1), path("grant")));
        let first = write(store, &group);
        write(store, &grants([(key(1, 0x1001), released(&grant("acme", "exit", 1)))]));
        let proof = |store: &dyn Store| {
            let mut found = None;
            store
                .read(Revision(0), &mut |record, _| {
                    if let Record::Grant(_, _, proof) = record {
                        found = proof
                    }
                })
                .unwrap();
            found
        };
        assert_eq!(proof(store), Some(Proof { seal: first, path: b"grant".as_slice().into() }));
        write(store, &grants([(key(1, 0x1001), grant("globex", "exit", 2))]));
        assert_eq!(proof(store), None);
        let mut bare = grants([]);
        bare.grants.insert(key(1, 0x1002), (grant("acme", "n1", 1), path("grant")));
        assert!(matches!(refused(store, &bare), StoreError::Refused { .. }), "a path to no seal");
    }),
];

fn conforms(open: impl Fn(&std::path::Path) -> Box<dyn Store>) {
    for (name, case) in CASES {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(&dir.path().join("store.db"));
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case(&mut *store)));
        assert!(told.is_ok(), "{name}");
    }
}

#[test]
fn the_one_in_memory_conforms() {
    conforms(|_| Box::new(Memory::default()));
}

#[test]
fn the_embedded_one_conforms() {
    conforms(|path| Box::new(Sqlite::open(path).unwrap()));
}

#[test]
fn each_conforms_behind_what_fails_delays_and_repeats() {
    conforms(|path| fails(Sqlite::open(path).unwrap()));
    conforms(|_| fails(Memory::default()));
    conforms(|path| delays(Sqlite::open(path).unwrap()));
    conforms(|path| repeats(Sqlite::open(path).unwrap()));
    conforms(|_| repeats(Memory::default()));
}

/// A small group: which prefixes, whose, released or not, which documents.
fn any_group() -> impl Strategy<Value = Group> {
    let grant = (0..3_u16, 0..3_usize, 0..2_usize, 1..4_u32, any::<bool>());
    let document = (0..2_usize, 0..5_u64);
    (prop::collection::vec(grant, 0..3), prop::collection::vec(document, 0..2), any::<bool>()).prop_map(
        |(of, said, number)| {
            let mut group = Group::default();
            for (index, tenant, seat, generation, live) in of {
                let grant = grant_of(tenant, seat, generation);
                let grant = if live { grant } else { released(&grant) };
                group.grants.insert(key(1, 0x1000 + index), (grant, None));
            }
            group.documents = said
                .into_iter()
                .map(|(name, version)| (id(["a", "b"][name]), document_of(version)))
                .collect();
            if number {
                group.allocations.push(numbered(1));
            }
            group
        },
    )
}

fn grant_of(tenant: usize, seat: usize, generation: u32) -> Grant {
    grant(["acme", "globex", "initech"][tenant], ["exit", "n1"][seat], generation)
}

fn document_of(version: u64) -> Document {
    document(version, &version.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is written: what one store takes the other takes, what one refuses the other refuses, and both have the same.
    #[test]
    fn the_embedded_one_and_the_one_in_memory_agree(groups in prop::collection::vec(any_group(), 1..24)) {
        let dir = tempfile::tempdir().unwrap();
        let (mut sqlite, mut memory) = (Sqlite::open(&dir.path().join("store.db")).unwrap(), Memory::default());
        for group in groups {
            match (sqlite.commit(&group), memory.commit(&group)) {
                (Ok(one), Ok(other)) => prop_assert_eq!(one, other),
                (Err(StoreError::Refused { .. }), Err(StoreError::Refused { .. })) => {}
                (one, other) => prop_assert!(false, "{:?}\nembedded: {:?}\nmemory: {:?}", group, one, other),
            }
            prop_assert_eq!(all(&sqlite, 0), all(&memory, 0));
        }
    }

    /// A log that ends anywhere is a store as it was after one of the commits: none is half there, and all before the
    /// last that is there are there.
    #[test]
    fn a_torn_log_is_a_store_of_some_moment(cut in 0.0..1.0_f64, flipped in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let mut store = Sqlite::open(&path).unwrap();
        let mut moments = vec![all(&store, 0)];
        prepared(&mut store);
        moments.push(all(&store, 0));
        for at in 0..6_u16 {
            let seat = format!("n{at}");
            let mut group = grants([(key(1, 0x1000 + at), grant("acme", &seat, 1)), (key(2, 0x2000 + at), grant("globex", &seat, 1))]);
            group.documents.insert(id(&seat), document(1, &"x".repeat(3000)));
            write(&mut store, &group);
            moments.push(all(&store, 0));
        }
        let log = fs::read(dir.path().join("store.db-wal")).unwrap();
        let torn = tempfile::tempdir().unwrap();
        fs::copy(&path, torn.path().join("store.db")).unwrap();
        let place = (log.len() as f64 * cut) as usize;
        let mut kept = if flipped { log.clone() } else { log[..place].to_vec() };
        if flipped && place < kept.len() {
            kept[place] ^= 0x40;
        }
        fs::write(torn.path().join("store.db-wal"), kept).unwrap();
        let store = match Sqlite::open(&torn.path().join("store.db")) {
            Ok(store) => store,
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        let found = all(&store, 0);
        prop_assert!(moments.contains(&found), "{:?}", found);
    }
}

#[test]
fn a_store_of_a_newer_version_or_of_something_else_is_left_alone_with_a_clear_word() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    drop(Sqlite::open(&path).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
    drop(connection);
    let newer = Sqlite::open(&path).unwrap_err();
    assert_eq!(
        newer.to_string(),
        format!(
            "the store is of schema {}, and this version knows none after {SCHEMA_VERSION}",
            SCHEMA_VERSION + 1
        )
    );
    assert!(newer.hint().contains("restore a backup"));
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", SCHEMA_VERSION - 1).unwrap();
    drop(connection);
    let older = Sqlite::open_to_read(&path).unwrap_err();
    assert!(matches!(older, StoreError::Older { .. }) && older.hint().contains("start the registry once"));
    let other = dir.path().join("other.db");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    assert!(matches!(Sqlite::open(&other), Err(StoreError::Foreign { .. })));
    let text = dir.path().join("notes.txt");
    fs::write(&text, "these are notes, and no database at all, however long they are: ".repeat(40)).unwrap();
    assert!(matches!(Sqlite::open(&text), Err(StoreError::Foreign { .. })));
    assert_eq!(fs::read_to_string(&text).unwrap().len(), 64 * 40, "it is as it was");
}

#[test]
fn one_store_has_one_writer_and_any_reader() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let mut first = Sqlite::open(&path).unwrap();
    assert!(matches!(Sqlite::open(&path), Err(StoreError::InUse { .. })));
    let reader = Sqlite::open_to_read(&path).unwrap();
    prepared(&mut first);
    assert_eq!(all(&reader, 0), all(&first, 0));
    assert!(matches!(Sqlite::open_to_read(&dir.path().join("none.db")), Err(StoreError::Io { .. })));
    drop(first);
    drop(Sqlite::open(&path).unwrap());
}
