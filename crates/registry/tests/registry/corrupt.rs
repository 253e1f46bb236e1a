//! Each invariant of a store is broken by hand, past what the database would allow, and `fsck` says so.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use sixfold_core::id::Generation;
use sixfold_core::model::Seat;
use sixfold_registry::copy::{CopyError, copy};
use sixfold_registry::dump::dump;
use sixfold_registry::fsck::fsck_unsigned;
use sixfold_registry::service::{Newly, Op, Sealed};
use sixfold_registry::store::{Sqlite, StoreError};

use crate::ground::{Hands, Registry, network, put_network, remove_network, report, said};

/// Changes after which a copy that is still not there never will be.
const WRITES_MAX: u64 = 4000;

/// A store with some of everything: networks, a released one, a device, seals, answers.
fn sound(path: &Path) {
    let sealer = |newly: &Newly<'_>| Sealed {
        seal: b"seal".as_slice().into(),
        paths: vec![b"path".as_slice().into(); newly.numbers.len() + newly.grants.len()],
    };
    let registry =
        Registry::sealed(Sqlite::open(path).unwrap(), &Hands::at(1), Some(Box::new(sealer))).furnish(4);
    let done = registry.ask("acme", "one", put_network(1, network("acme/web", 1, [1, 2]))).unwrap();
    registry.ask("globex", "two", put_network(1, network("globex/lab", 2, [3]))).unwrap();
    registry.ask("initech", "three", put_network(1, network("initech/net", 1, [3]))).unwrap();
    registry.ask("initech", "four", remove_network(2, "initech/net")).unwrap();
    let held = done.grants.iter().find(|held| held.seat == Seat::Node("n2".parse().unwrap())).unwrap();
    let (node, resource) = ("n2".parse().unwrap(), held.resource);
    let device =
        Op::PutDevice { said: said(1, "d"), node, resource, generation: Generation(1), report: report(7) };
    registry.ask("n2", "five", device).unwrap();
    registry.end();
    // The prefixes are drawn by a secret: the same ones in every run, so that findings can be told.
    let connection = Connection::open(path).unwrap();
    unruly(&connection);
    let of = |network: &str, seat: &str| -> i64 {
        let sql = "SELECT prefix FROM grants WHERE network = ?1 AND seat = ?2";
        connection.query_row(sql, [network, seat], |row| row.get(0)).unwrap()
    };
    let drawn = SEATS.map(|(network, seat)| of(network, seat));
    // Aside first: one that was drawn may be one that another is to have.
    connection.execute("UPDATE grants SET prefix = -prefix", ()).unwrap();
    for (at, ((network, seat), old)) in SEATS.iter().zip(drawn).enumerate() {
        let slot = if *network == "globex/lab" { 2 } else { 1 };
        let new = slot * 0x1000 + i64::try_from(at).unwrap();
        let sql = "UPDATE grants SET prefix = ?1 WHERE network = ?2 AND seat = ?3";
        connection.execute(sql, (new, network, seat)).unwrap();
        let (sql, first) =
            ("UPDATE grants SET ports = ?1 WHERE prefix = ?2 AND ports IS NOT NULL", 1024 * (at + 1));
        connection.execute(sql, (format!("{first}-{}", first + 1023), new)).unwrap();
        let (from, to) = (format!("\"index\":\"{old:04x}\""), format!("\"index\":\"{new:04x}\""));
        let sql = "UPDATE documents SET name = replace(name, ?1, ?2), model = replace(model, ?3, ?4)";
        let pair = (format!("{old:04x}-"), format!("{new:04x}-"));
        connection.execute(sql, (pair.0, pair.1, from, to)).unwrap();
    }
    ruled(&connection);
}

const SEATS: [(&str, &str); 7] = [
    ("acme/web", "exit"),
    ("acme/web", "node n1"),
    ("acme/web", "node n2"),
    ("globex/lab", "exit"),
    ("globex/lab", "node n3"),
    ("initech/net", "exit"),
    ("initech/net", "node n3"),
];

/// Has a connection write whatever it is told: without triggers, references and conditions.
fn unruly(connection: &Connection) {
    connection.pragma_update(None, "foreign_keys", false).unwrap();
    connection.pragma_update(None, "ignore_check_constraints", true).unwrap();
    let mut triggers =
        connection.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").unwrap();
    let all: Vec<(String, String)> =
        triggers.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    connection.execute_batch("CREATE TEMP TABLE triggers (sql TEXT)").unwrap();
    for (name, sql) in all {
        connection.execute("INSERT INTO triggers VALUES (?1)", [sql]).unwrap();
        connection.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
    }
}

/// Gives it its triggers again.
fn ruled(connection: &Connection) {
    let mut triggers = connection.prepare("SELECT sql FROM triggers").unwrap();
    let all: Vec<String> = triggers.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    all.iter().for_each(|sql| connection.execute_batch(sql).unwrap());
}

const BREAKS: [(&str, &str); 37] = [
    (
        "rotations that cannot be read",
        "INSERT INTO documents VALUES ('rotation', 'tenant-acme', 1, CAST('x' AS BLOB), '\"bytes\"', 3)",
    ),
    (
        "rotations that are no chain",
        "INSERT INTO documents VALUES ('rotation', 'tenant-acme', 1, CAST('[]' AS BLOB), '\"bytes\"', 3)",
    ),
    (
        "a seat with two prefixes",
        "DROP INDEX grants_one_in_force; INSERT INTO grants SELECT number, slot, 0x1777, network, seat, generation, released_at, released_revision, holders, late, seal, path, revision, NULL, NULL FROM grants WHERE prefix = 0x1000; UPDATE slots SET revision = 99",
    ),
    ("a grant outside its exit's slot", "UPDATE grants SET prefix = 0x2777, slot = 2 WHERE prefix = 0x1001"),
    ("a grant that is in another slot than it says", "UPDATE grants SET slot = 2 WHERE prefix = 0x1001"),
    (
        "ports that two networks have",
        "UPDATE grants SET ports = '5000-7000' WHERE prefix IN (0x1000, 0x1005)",
    ),
    ("ports that are none", "UPDATE grants SET ports = '0-7' WHERE prefix = 0x1000"),
    ("ports of another than an exit point", "UPDATE grants SET ports = '60000-60001' WHERE prefix = 0x1001"),
    (
        "an address that two networks have",
        "UPDATE grants SET own_v4 = '203.0.113.20' WHERE prefix IN (0x1000, 0x1005)",
    ),
    (
        "an address without ports",
        "UPDATE grants SET own_v4 = '203.0.113.20', ports = NULL WHERE prefix = 0x1000",
    ),
    ("an address that is none", "UPDATE grants SET own_v4 = '203.0.113.256' WHERE prefix = 0x1000"),
    ("a grant of PrefixZero", "UPDATE grants SET prefix = 0x0777 WHERE prefix = 0x1001"),
    ("a grant whose network is deleted", "UPDATE documents SET model = '\"gone\"' WHERE name = 'globex/lab'"),
    ("a grant for a node that is not listed", "UPDATE grants SET seat = 'node n0' WHERE prefix = 0x1001"),
    ("a seat without a prefix", "DELETE FROM grants WHERE prefix = 0x1001"),
    ("a grant of an allocation without a number", "UPDATE grants SET number = 7 WHERE prefix = 0x1001"),
    ("a slot whose /48 has no number", "UPDATE allocations SET prefix = '2001:db8:b::/48'"),
    (
        "a /48 with two numbers",
        "INSERT INTO allocations SELECT 9, '2001:DB8:A::/48', seal, path, revision FROM allocations",
    ),
    ("an allocation that is none", "UPDATE allocations SET prefix = '2001:db8:a::/52'"),
    ("a network that is none", "UPDATE grants SET network = 'acme' WHERE prefix = 0x1001"),
    ("a seat that is none", "UPDATE grants SET seat = 'somewhere' WHERE prefix = 0x1001"),
    ("a generation that begins too early", "UPDATE grants SET generation = 0 WHERE prefix = 0x1001"),
    ("a release after it was written", "UPDATE grants SET released_revision = 99 WHERE prefix = 0x1005"),
    ("a release to nobody's nodes", "UPDATE grants SET holders = 'n1 N2' WHERE prefix = 0x1005"),
    ("a grant newer than the store", "UPDATE grants SET revision = 99 WHERE prefix = 0x1001"),
    ("a slot older than a grant in it", "UPDATE slots SET revision = 1"),
    ("a proof by no seal", "DELETE FROM seals"),
    ("an answer of a later commit", "UPDATE answers SET revision = 99"),
    ("an answer that is none", "UPDATE answers SET key = 'the one' WHERE key = 'one'"),
    ("a seal that nothing stands on", "INSERT INTO seals VALUES (98, CAST('seal' AS BLOB))"),
    ("a document about another", "UPDATE documents SET name = 'omega' WHERE kind = 'farm'"),
    ("a document that is none", "UPDATE documents SET model = '{\"farm\":{}}' WHERE kind = 'farm'"),
    (
        "a node of no farm",
        "UPDATE documents SET model = replace(model, '\"farm\":\"alpha\"', '\"farm\":\"omega\"') WHERE name = 'n0'",
    ),
    ("a document without a version", "UPDATE documents SET version = 0 WHERE name = 'n0'"),
    ("no secret", "DELETE FROM documents WHERE kind = 'secret'"),
    (
        "a rule that is gone",
        "DELETE FROM triggers WHERE sql LIKE '%grants_grow%'; DROP INDEX documents_by_kind",
    ),
    ("a table of others", "CREATE TABLE notes (text TEXT)"),
];

#[test]
fn each_invariant_that_is_broken_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let template = dir.path().join("sound.db");
    sound(&template);
    assert_eq!(fsck_unsigned(&Sqlite::open_to_read(&template).unwrap()).unwrap().findings, []);
    let mut told = String::new();
    for (name, sql) in BREAKS {
        let path = dir.path().join("broken.db");
        fs::copy(&template, &path).unwrap();
        let connection = Connection::open(&path).unwrap();
        unruly(&connection);
        connection.execute_batch(sql).unwrap();
        ruled(&connection);
        drop(connection);
        let findings = fsck_unsigned(&Sqlite::open_to_read(&path).unwrap()).unwrap().findings;
        assert!(!findings.is_empty(), "{name} is not found");
        told += &format!("{name}\n");
        findings.iter().for_each(|finding| told += &format!("  {finding}\n"));
        fs::remove_file(path).unwrap();
    }
    insta::assert_snapshot!(told);
}

#[test]
fn bytes_that_rot_are_found_or_matter_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let template = dir.path().join("sound.db");
    sound(&template);
    let bytes = fs::read(&template).unwrap();
    let lines = dump(&Sqlite::open_to_read(&template).unwrap()).unwrap();
    let (mut found, mut same) = (0, 0);
    for at in (100..bytes.len()).step_by(bytes.len() / 150) {
        let path = dir.path().join("rotten.db");
        let mut rotten = bytes.clone();
        rotten[at] ^= 0x11;
        fs::write(&path, rotten).unwrap();
        // What is neither found nor as it was is a word that nobody else repeats: the owner's signature is over those.
        let proven =
            Sqlite::open_to_read(&path).and_then(|store| Ok((fsck_unsigned(&store)?, dump(&store)?)));
        match proven {
            Err(_) => found += 1,
            Ok((proven, _)) if !proven.findings.is_empty() => found += 1,
            Ok((_, now)) if now == lines => same += 1,
            Ok(_) => {}
        }
    }
    println!("of 150 flipped bytes {found} were found, {same} changed nothing");
    assert!(found > 10);
}

/// Puts so many bytes into a store that they are not copied in a moment.
fn swell(path: &Path) {
    let connection = Connection::open(path).unwrap();
    let sql = "INSERT INTO documents VALUES ('token', ?1, 1, zeroblob(262144), '\"bytes\"', 1)";
    for at in 0..128 {
        connection.execute(sql, [format!("alpha-{at}")]).unwrap();
    }
}

#[test]
fn a_backup_of_a_store_in_use_is_that_store_at_one_moment() {
    let dir = tempfile::tempdir().unwrap();
    let (path, saved) = (dir.path().join("registry.db"), dir.path().join("saved.db"));
    Registry::open(&path, &Hands::at(1)).furnish(3).end();
    swell(&path);
    let registry = Registry::open(&path, &Hands::at(1));
    let (service, is_copied) = (registry.service.clone(), Arc::new(AtomicBool::new(false)));
    let writer = std::thread::spawn({
        let is_copied = Arc::clone(&is_copied);
        move || {
            let written = (0..WRITES_MAX).take_while(|at| {
                let (name, version) = (format!("acme/n{}", at % 100), at / 100 + 1);
                let op = put_network(version, network(&name, 1, [1, 2]));
                service.ask(crate::ground::request("acme", "", op)).unwrap();
                !is_copied.load(Ordering::Relaxed)
            });
            written.count() as u64
        }
    });
    let proven = copy(&path, &saved, fsck_unsigned).unwrap();
    is_copied.store(true, Ordering::Relaxed);
    let written = writer.join().unwrap();
    println!("{written} changes while it was copied");
    assert!(written < WRITES_MAX, "it was copied only when nobody wrote any more");
    let exists = copy(&path, &saved, fsck_unsigned).unwrap_err();
    assert!(matches!(exists, CopyError::Exists { .. }), "{exists}");
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().contains("unfinished")), "{names:?}");
    let restored = dir.path().join("restored.db");
    assert_eq!(copy(&saved, &restored, fsck_unsigned).unwrap(), proven);
    let lines = |path: &Path| dump(&Sqlite::open_to_read(path).unwrap()).unwrap();
    assert_eq!(lines(&restored), lines(&saved));
    registry.end();
    let registry = Registry::open(&restored, &Hands::at(1));
    assert_eq!(registry.service.read(|state| state.revision()), proven.revision);
    registry.ask("acme", "", put_network(1, network("acme/more", 2, [1]))).unwrap();
}

#[test]
fn nothing_is_restored_beside_what_is_left_of_a_store_or_where_one_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let (saved, path) = (dir.path().join("saved.db"), dir.path().join("registry.db"));
    sound(&saved);
    let lines = dump(&Sqlite::open_to_read(&saved).unwrap()).unwrap();
    for left in ["registry.db-wal", "registry.db-shm", "registry.db-journal"] {
        let left = dir.path().join(left);
        fs::write(&left, "changes of another store").unwrap();
        let exists = copy(&saved, &path, fsck_unsigned).unwrap_err();
        assert!(matches!(&exists, CopyError::Exists { path } if *path == left), "{exists}");
        assert!(!path.exists());
        fs::remove_file(left).unwrap();
    }
    // A registry that runs goes on with its store though somebody moved it.
    let registry = Registry::open(&path, &Hands::at(1));
    for end in ["", "-wal", "-shm"] {
        let name = |of: &str| dir.path().join(format!("{of}{end}"));
        fs::rename(name("registry.db"), name("moved.db")).unwrap();
    }
    let in_use = copy(&saved, &path, fsck_unsigned).unwrap_err();
    assert!(matches!(in_use, CopyError::Store(StoreError::InUse { .. })), "{in_use}");
    registry.end();
    copy(&saved, &path, fsck_unsigned).unwrap();
    assert_eq!(dump(&Sqlite::open_to_read(&path).unwrap()).unwrap(), lines);
}

#[test]
fn a_dump_tells_all_but_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sound.db");
    sound(&path);
    let store = Sqlite::open_to_read(&path).unwrap();
    let lines = dump(&store).unwrap();
    let secret: Vec<u8> = store
        .connection()
        .query_row("SELECT body FROM documents WHERE kind = 'secret'", [], |row| row.get(0))
        .unwrap();
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = format!("{secret:?}").replace(' ', "");
    assert!(lines.iter().all(|line| !line.contains(&hex) && !line.contains(&list)));
    insta::assert_snapshot!(lines.join("\n"));
}
