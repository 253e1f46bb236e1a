//! Who holds an exit slot: decided by the protocol's own function, written and signed in one commit, and told to whom it concerns.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;
use sixfold_core::id::{Epoch, NodeId, Revision};
use sixfold_core::model::{FarmDraft, Snapshot, World};
use sixfold_core::tenure::{Ask, Duty, Facts, Phase, Tenure};
use sixfold_core::trust::{Signed, SigningKey};
use sixfold_registry::copy::copy;
use sixfold_registry::dump::dump;
use sixfold_registry::fsck::{Finding, fsck_sealed};
use sixfold_registry::seal::Signing;
use sixfold_registry::service::{Done, Failed, Op, SlotFacts};
use sixfold_registry::store::{DocumentId, Memory, Sqlite, Store};

use crate::ground::{Hands, Registry, farm, network, put_farm, put_network, said, slot};

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

/// Slot 1 is held by these, in this order.
fn held_by(holders: &[&str]) -> FarmDraft {
    let mut draft = farm(&[(1, 0), (2, 1)]);
    draft.slots[0].holders = holders.iter().map(|holder| node(holder)).collect();
    draft
}

/// A registry that signs, with four nodes: n0 holds slot 1, and n3 may; acme/web is on n2 and leaves by it.
fn registry(store: impl Store + 'static) -> Registry {
    let registry = started(store).furnish(4);
    registry.ask("alpha", "", put_farm(3, held_by(&["n0", "n3"]))).unwrap();
    registry.ask("acme", "", put_network(1, network("acme/web", 1, [2]))).unwrap();
    registry
}

fn started(store: impl Store + 'static) -> Registry {
    let sealer = Signing { key: key(), operator: None };
    Registry::sealed(store, &Hands::at(1), Some(Box::new(sealer)))
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

/// Ready, and sees no other gateway.
const ALONE: Facts = Facts { ready: true, answered: false, forwards: None };
/// Ready, and sees another one.
const BESIDE: Facts = Facts { answered: true, ..ALONE };

fn by(epoch: u64) -> Facts {
    Facts { forwards: Some(Epoch(epoch)), ..ALONE }
}

fn facts(of: &[(&str, Facts)]) -> SlotFacts {
    of.iter().map(|(name, facts)| (node(name), *facts)).collect()
}

fn hold(registry: &Registry, ask: Ask, of: &[(&str, Facts)]) -> Result<Done, Failed> {
    let (farm, facts) = ("alpha".parse().unwrap(), facts(of));
    registry.ask("registry", "", Op::Hold { farm, slot: slot(1), ask, facts })
}

fn settle(registry: &Registry, of: &[(&str, Facts)]) -> Result<Done, Failed> {
    hold(registry, Ask::Settle, of)
}

/// The words of a refusal, and what to do about it.
fn words(of: Result<Done, Failed>) -> String {
    let failed = of.unwrap_err();
    format!("{failed}; {}", failed.hint())
}

fn moved(version: u64, holders: &[&str], known: &[(&str, Facts)]) -> Op {
    match put_farm(version, held_by(holders)) {
        Op::PutFarm { said, farm, invited, .. } => {
            Op::PutFarm { said, farm, invited, facts: BTreeMap::from([(slot(1), facts(known))]) }
        }
        other => other,
    }
}

/// Epoch, holder, and from whom it moves.
fn record(registry: &Registry) -> (u64, String, Option<String>) {
    let tenure = registry.service.read(|state| state.tenure(slot(1)).cloned()).unwrap();
    let from = match tenure.phase {
        Phase::Handover { from } => Some(from.to_string()),
        Phase::Done => None,
    };
    (tenure.epoch.0, tenure.holder.to_string(), from)
}

fn alone(epoch: u64, holder: &str) -> (u64, String, Option<String>) {
    (epoch, holder.to_owned(), None)
}

/// By whom the network leaves, as a node sees it.
fn leaves_by(registry: &Registry, as_seen_by: &str) -> String {
    let snapshot = registry.service.read(|state| state.snapshot(&node(as_seen_by))).unwrap();
    snapshot.networks[0].exit().unwrap().node.to_string()
}

fn duty(registry: &Registry, of: &str) -> Option<Duty> {
    let snapshot = registry.service.read(|state| state.snapshot(&node(of))).unwrap();
    snapshot.gateways.iter().find(|gateway| gateway.key() == slot(1)).map(|gateway| gateway.duty)
}

/// The nodes that are told of what is done, of n0 to n3.
fn told(registry: &Registry, act: impl FnOnce()) -> Vec<usize> {
    let revision_of = |at: &usize| registry.service.read(|state| state.revision_of(&node(&format!("n{at}"))));
    let before: Vec<Revision> = (0..4).map(|at| revision_of(&at)).collect();
    act();
    (0..4).filter(|at| revision_of(at) > before[*at]).collect()
}

#[test]
fn a_slot_begins_with_the_first_of_its_list_and_passes_on_when_its_holder_is_gone() {
    let registry = registry(Memory::default());
    assert_eq!(registry.service.read(|state| state.tenure(slot(1)).cloned()), None, "no farmer says it");
    assert_eq!(told(&registry, || drop(settle(&registry, &[("n3", ALONE)]).unwrap())), [0, 2, 3]);
    assert_eq!(record(&registry), alone(1, "n0"), "the first one, whatever is known");
    assert_eq!((duty(&registry, "n0"), duty(&registry, "n3")), (Some(Duty::Hold), Some(Duty::Rest)));
    // Alive at the registry it is not replaced, whoever else is ready.
    assert_eq!(
        words(settle(&registry, &[("n0", by(1)), ("n3", ALONE)])),
        "exit slot 2001:db8:a::/48#1: the slot is with n0; nothing has to be done"
    );
    assert_eq!(
        words(settle(&registry, &[("n3", BESIDE)])),
        "exit slot 2001:db8:a::/48#1: n0 is not there, and no other node that may hold the slot is ready; \
         look at the nodes that may hold it: `sixfold exit status`"
    );
    assert_eq!(told(&registry, || drop(settle(&registry, &[("n3", ALONE)]).unwrap())), [0, 2, 3]);
    assert_eq!((record(&registry), leaves_by(&registry, "n2")), (alone(2, "n3"), "n3".to_owned()));
    assert_eq!((duty(&registry, "n0"), duty(&registry, "n3")), (Some(Duty::Rest), Some(Duty::Hold)));
    // It is not taken back by words about something else.
    let mut draft = held_by(&["n0", "n3"]);
    draft.management = vec!["10.0.0.0/8".parse().unwrap()];
    registry.ask("alpha", "", put_farm(4, draft)).unwrap();
    assert_eq!(record(&registry), alone(2, "n3"));
    let other =
        Op::Hold { farm: "alpha".parse().unwrap(), slot: slot(7), ask: Ask::Settle, facts: SlotFacts::new() };
    assert_eq!(
        registry.refused("registry", "", other),
        "farm alpha has no exit slot 2001:db8:a::/48#7; look at the farm's slots"
    );
}

#[test]
fn a_list_that_begins_with_another_node_is_a_wish_to_move_there() {
    let registry = registry(Memory::default());
    settle(&registry, &[]).unwrap();
    // Not ready: it stays, and what the farmer says holds.
    registry.ask("alpha", "", moved(4, &["n3", "n0"], &[("n0", by(1))])).unwrap();
    assert_eq!((record(&registry), leaves_by(&registry, "n2")), (alone(1, "n0"), "n0".to_owned()));
    registry.ask("alpha", "", moved(5, &["n0", "n3"], &[("n0", by(1)), ("n3", BESIDE)])).unwrap();
    assert_eq!(record(&registry), alone(1, "n0"), "where it is");
    registry.ask("alpha", "", moved(6, &["n3", "n0"], &[("n0", by(1)), ("n3", BESIDE)])).unwrap();
    assert_eq!(record(&registry), (2, "n3".to_owned(), Some("n0".to_owned())));
    assert_eq!((duty(&registry, "n0"), duty(&registry, "n3")), (Some(Duty::Yield), Some(Duty::Hold)));
    assert_eq!(leaves_by(&registry, "n2"), "n0", "until it is done");
    assert_eq!(
        words(settle(&registry, &[("n0", by(1)), ("n3", BESIDE)])),
        "exit slot 2001:db8:a::/48#1: the slot is moving to n3; wait until it is there: `sixfold exit status`"
    );
    // Whom it was from is told last: those who send by it switch before.
    let mut late = registry.service.watch(&node("n0"));
    late.mark_unchanged();
    let now = told(&registry, || drop(settle(&registry, &[("n0", by(1)), ("n3", by(2))]).unwrap()));
    assert_eq!((now, record(&registry)), (vec![2, 3], alone(2, "n3")));
    assert_eq!(leaves_by(&registry, "n2"), "n3");
    let done = registry.service.read(|state| state.revision());
    while *late.borrow_and_update() < done {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(registry.service.read(|state| state.revision_of(&node("n0"))), done);
}

#[test]
fn a_holder_that_is_listed_no_more_is_followed_by_one_that_is_once_it_is_silent() {
    let registry = registry(Memory::default());
    settle(&registry, &[]).unwrap();
    registry.ask("alpha", "", moved(4, &["n3"], &[("n0", by(1)), ("n3", BESIDE)])).unwrap();
    assert_eq!(record(&registry), alone(1, "n0"), "its gateway answers still");
    assert_eq!(leaves_by(&registry, "n2"), "n3", "and nobody sends by it");
    settle(&registry, &[("n0", by(1)), ("n3", ALONE)]).unwrap();
    assert_eq!(record(&registry), alone(2, "n3"));
}

#[test]
fn a_store_that_was_set_back_takes_up_what_it_once_signed() {
    let registry = registry(Memory::default());
    settle(&registry, &[]).unwrap();
    let number = registry.service.read(|state| state.tenure(slot(1)).unwrap().allocation);
    let later = Tenure { epoch: Epoch(3), ..Tenure::first((number, slot(1).slot), node("n3")) };
    hold(&registry, Ask::Adopt(later.clone()), &[]).unwrap();
    assert_eq!(record(&registry), alone(3, "n3"));
    let other = Tenure { epoch: Epoch(3), ..Tenure::first((number, slot(1).slot), node("n9")) };
    assert_eq!(
        words(hold(&registry, Ask::Adopt(other), &[])),
        "exit slot 2001:db8:a::/48#1: epoch 3 is not newer than what is known; take the newest snapshot first"
    );
    settle(&registry, &[("n0", ALONE)]).unwrap();
    assert_eq!(record(&registry), alone(4, "n0"));
}

/// Another farm that has the prefix later goes on with the epochs: nodes that remember the earlier ones follow it.
#[test]
fn epochs_outlive_the_farm() {
    let registry = registry(Memory::default());
    settle(&registry, &[]).unwrap();
    settle(&registry, &[("n3", ALONE)]).unwrap();
    registry.ask("acme", "", crate::ground::remove_network(2, "acme/web")).unwrap();
    registry.ask("alpha", "", put_farm(4, farm(&[(2, 1)]))).unwrap();
    let missing = registry.service.read(|state| state.world().farm(&"alpha".parse().unwrap()).cloned());
    assert!(missing.unwrap().slot(slot(1)).is_none());
    registry.ask("alpha", "", put_farm(5, farm(&[(1, 0), (2, 1)]))).unwrap();
    let now = registry.service.read(|state| state.world().farm(&"alpha".parse().unwrap()).cloned());
    let tenure = now.unwrap().slot(slot(1)).unwrap().tenure().cloned().unwrap();
    assert_eq!((tenure.epoch, tenure.holder), (Epoch(2), node("n3")), "as the document says");
    settle(&registry, &[("n0", ALONE)]).unwrap();
    assert_eq!(record(&registry), alone(3, "n0"));
}

/// The world and what each node sees of it.
fn all(registry: &Registry) -> (World, Vec<Option<Snapshot>>) {
    registry.service.read(|state| {
        let snapshot = |at| state.snapshot(&node(&format!("n{at}")));
        let mut snapshots: Vec<Option<Snapshot>> = (0..4).map(snapshot).collect();
        // A start anew does not know what changed when.
        snapshots.iter_mut().flatten().for_each(|snapshot| snapshot.revision = Revision(0));
        (state.world().clone(), snapshots)
    })
}

#[test]
fn what_is_read_is_what_was_applied_and_copies_have_it() {
    let dir = tempfile::tempdir().unwrap();
    let (path, backup) = (dir.path().join("registry.db"), dir.path().join("backup.db"));
    let mut running = registry(Sqlite::open(&path).unwrap());
    let again = |registry: Registry| {
        let before = all(&registry);
        registry.end();
        let registry = started(Sqlite::open(&path).unwrap());
        assert_eq!(all(&registry), before);
        registry
    };
    settle(&running, &[]).unwrap();
    running = again(running);
    running.ask("alpha", "", moved(4, &["n3", "n0"], &[("n0", by(1)), ("n3", BESIDE)])).unwrap();
    running = again(running);
    let node_again = Op::PutNode {
        said: said(2, "n3 again"),
        farm: "alpha".parse().unwrap(),
        node: sixfold_core::model::NodeDraft { mtu: 1400, ..crate::ground::node(3) },
        token: None,
    };
    running.ask("n3", "", node_again).unwrap();
    assert_eq!(duty(&running, "n0"), Some(Duty::Yield), "it keeps what there is");
    running = again(running);
    settle(&running, &[("n0", by(1)), ("n3", by(2))]).unwrap();
    running = again(running);
    let kept = running.service.read(|state| {
        let kept = state.document(&DocumentId::tenure((1_u16.try_into().unwrap(), slot(1).slot))).cloned();
        kept.unwrap()
    });
    let signed: Signed = serde_json::from_slice(&kept.body).unwrap();
    assert_eq!(
        (signed.key, kept.version),
        (key().verifying(), 5),
        "two for each epoch, the second when it is done"
    );
    assert_eq!(signed.open::<Tenure>().unwrap().holder, node("n3"));
    // A farmer's words have none of it.
    let farm =
        running.service.read(|state| state.document(&DocumentId::farm(&"alpha".parse().unwrap())).cloned());
    assert!(!String::from_utf8_lossy(&farm.unwrap().body).contains("tenure"));
    let before = all(&running);
    running.end();
    assert_eq!(copy(&path, &backup, fsck_sealed).unwrap().findings, []);
    let lines = |path: &Path| dump(&Sqlite::open_to_read(path).unwrap()).unwrap();
    assert_eq!(lines(&backup), lines(&path));
    let tenures: Vec<String> =
        lines(&path).into_iter().filter(|line| line.contains("\"kind\":\"tenure\"")).collect();
    assert_eq!(tenures.len(), 1);
    assert!(
        tenures[0].contains("\"model\":{\"tenure\":{\"allocation\":1,\"epoch\":2,\"holder\":\"n3\""),
        "{tenures:?}"
    );
    let restored = started(Sqlite::open(&backup).unwrap());
    assert_eq!(all(&restored), before);
    restored.end();
}

fn findings(path: &Path) -> Vec<Finding> {
    fsck_sealed(&Sqlite::open_to_read(path).unwrap()).unwrap().findings
}

/// As the version before this one made it: its table of documents has no room for tenures.
fn set_back(path: &Path) {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection
        .prepare("SELECT sql FROM sqlite_schema WHERE tbl_name = 'documents' AND sql IS NOT NULL ORDER BY type = 'table' DESC")
        .unwrap();
    let rules: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    drop(statement);
    let rules = rules.join(";\n").replace("'tenure', ", "");
    let copied = "INSERT INTO documents SELECT * FROM kept; DROP TABLE kept; PRAGMA user_version = 6;
        ALTER TABLE grants DROP COLUMN own_v4;";
    connection
        .execute_batch(&format!(
            "CREATE TABLE kept AS SELECT * FROM documents; DROP TABLE documents; {rules}; {copied}"
        ))
        .unwrap();
}

#[test]
fn a_store_of_the_step_before_has_its_documents_and_takes_tenures() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.db");
    let registry = registry(Sqlite::open(&path).unwrap());
    let (before, lines) = (all(&registry), |path: &Path| dump(&Sqlite::open_to_read(path).unwrap()).unwrap());
    registry.end();
    let documents = lines(&path);
    set_back(&path);
    let refused = Connection::open(&path)
        .unwrap()
        .execute("INSERT INTO documents VALUES ('tenure', '1-1', 3, x'00', '{}', 3)", []);
    assert!(refused.is_err(), "it is not of the step before");
    let registry = started(Sqlite::open(&path).unwrap());
    assert_eq!(all(&registry), before);
    registry.end();
    assert_eq!((lines(&path), findings(&path)), (documents, vec![]));
    let registry = started(Sqlite::open(&path).unwrap());
    settle(&registry, &[]).unwrap();
    assert_eq!(record(&registry), alone(1, "n0"));
    registry.end();
    assert_eq!(findings(&path), []);
}

#[test]
fn a_tenure_that_the_registry_did_not_sign_so_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (template, path) = (dir.path().join("sound.db"), dir.path().join("broken.db"));
    let registry = registry(Sqlite::open(&template).unwrap());
    settle(&registry, &[]).unwrap();
    settle(&registry, &[("n3", ALONE)]).unwrap();
    let tenure = registry.service.read(|state| state.tenure(slot(1)).cloned()).unwrap();
    registry.end();
    assert_eq!(findings(&template), []);
    let signed = |tenure: &Tenure, seed: u8| {
        serde_json::to_vec(&Signed::new(tenure, &SigningKey::from_seed(&[seed; 32]))).unwrap()
    };
    let set = |sql: &str, body: &[u8]| {
        std::fs::copy(&template, &path).unwrap();
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("DROP TRIGGER documents_grow").unwrap();
        let sql = format!("UPDATE documents SET {sql} WHERE kind = 'tenure' AND ?1 IS NOT NULL");
        assert_eq!(connection.execute(&sql, [body]).unwrap(), 1);
        drop(connection);
        let all = findings(&path).into_iter().filter(|finding| finding.place != "database");
        all.map(|finding| finding.to_string()).collect::<Vec<_>>().join("; ")
    };
    let forged = set("body = ?1", &signed(&tenure, 8));
    assert_eq!(forged, "tenure 1-1: is not signed by the registry's key");
    let other = Tenure { holder: node("n0"), ..tenure };
    let other = set("body = ?1", &signed(&other, 7));
    assert_eq!(other, "tenure 1-1: says something else than was signed");
    assert_eq!(set("version = 6", b""), "tenure 1-1: is of version 6, and its tenure of 5");
    assert_eq!(set("name = '1-2'", b""), "tenure 1-2: is about tenure 1-1");
    let bytes = set("model = '\"bytes\"'", b"");
    assert_eq!(bytes, "tenure 1-1: means what no document of its kind does");
    let elsewhere = set("model = replace(model, '\"allocation\":1', '\"allocation\":9')", b"");
    assert_eq!(
        elsewhere,
        "tenure 1-1: is about tenure 9-1; tenure 1-1: says something else than was signed; tenure 1-1: this allocation has no number"
    );
}
