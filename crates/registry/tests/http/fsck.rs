//! What was signed, and by whom, is proven from the store alone: each signature, each path and each meaning is broken by hand, past what the
//! database would allow, and `fsck` says so.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use axum::http::Method;
use rusqlite::Connection;
use serde_json::{Value, from_slice, to_vec};
use sixfold_api::resource::Done;
use sixfold_core::id::{FarmId, NetworkId};
use sixfold_core::key::PublicKey;
use sixfold_core::limit::PREFIXES_PER_TENANT;
use sixfold_core::model::{DeviceReport, FarmDraft, NetworkDraft, Seat};
use sixfold_core::trust::{
    Delegation, DeviceOf, DeviceStatement, Dissolution, Granted, Group, Leaf, Leaving, NetworkStatement,
    Reclaim, Role, Signed, SigningKey, Statement, Subject, seal,
};
use sixfold_registry::copy::copy;
use sixfold_registry::fsck::{Finding, Proven, fsck, fsck_sealed};
use sixfold_registry::seal::Signing;
use sixfold_registry::service::{Service, SystemClock};
use sixfold_registry::store::{Sqlite, StoreError};

use super::Running;
use super::flow::{
    FARMER, NODES, TENANT, delegation, farm, joined, live, network, node, node_statement, put, send, token,
};
use super::{ADMIN, REGISTRY, signing};

/// Another farmer.
const OTHER: u8 = 0x31;

/// A store with some of everything that is signed.
async fn furnished(path: &Path) {
    let running = Running::registry_on("[::1]:0", Box::new(Sqlite::open(path).unwrap()));
    let [mut farmer, _holder, mut other] = joined(&running).await;
    let mut tenant = running.client(Some(TENANT));
    let of_network = format!("/v1/networks/{}", network());
    let done = send(&mut tenant, &of_network, &put(&live(1, &NODES), TENANT)).await.unwrap();
    let grant = done.grants.iter().find(|held| held.seat == Seat::Node(node(NODES[1]))).unwrap();
    let (generation, key) = (grant.generation, grant.resource);
    let of = DeviceOf { node: node(NODES[1]), key, generation, network: network() };
    let report =
        DeviceReport { public_key: PublicKey::from_bytes([7; 32]), listen_port: 5000, endpoints: Vec::new() };
    let device = put(&DeviceStatement::new(of, 1, report).unwrap(), NODES[1]);
    send(&mut other, &format!("/v1/nodes/{}/devices", node(NODES[1])), &device).await.unwrap();
    // One that has left, and a network that was.
    let (mut late, left) = (running.client(Some(9)), format!("/v1/nodes/{}", node(9)));
    let joins = sixfold_api::resource::Put { token: Some(token(9, FARMER)), ..put(&node_statement(9), 9) };
    send(&mut late, &left, &joins).await.unwrap();
    let leaving = Leaving { node: node(9), farm: farm(), version: 2 };
    let _: Done = farmer.send(Method::DELETE, &left, &put(&leaving, FARMER), None).await.unwrap();
    let id = NetworkId { name: "gone".parse().unwrap(), ..network() };
    let gone = NetworkStatement { version: 1, subject: Subject::Deleted(id.clone()) };
    let mut draft = match live(1, &NODES[..1]).subject {
        Subject::Live(network) => NetworkDraft::from(network),
        Subject::Deleted(_) => panic!("it is live"),
    };
    draft.id = id.clone();
    let was = NetworkStatement { version: 1, subject: Subject::Live(draft.clone().try_into().unwrap()) };
    send(&mut tenant, &format!("/v1/networks/{id}"), &put(&was, TENANT)).await.unwrap();
    let gone = NetworkStatement { version: 2, ..gone };
    send(&mut tenant, &format!("/v1/networks/{id}"), &put(&gone, TENANT)).await.unwrap();
    taken_back(&running, &draft).await;
}

/// A farm and a network that the operator took back.
async fn taken_back(running: &Running, network: &NetworkDraft) {
    let (mut admin, mut other) = (running.client(Some(ADMIN)), running.client(Some(OTHER)));
    let id = NetworkId { name: "taken".parse().unwrap(), ..network.id.clone() };
    let live = NetworkDraft { id: id.clone(), ..network.clone() };
    let live = NetworkStatement { version: 1, subject: Subject::Live(live.try_into().unwrap()) };
    let path = format!("/v1/networks/{id}");
    send(&mut running.client(Some(TENANT)), &path, &put(&live, TENANT)).await.unwrap();
    let reclaim = put(&Reclaim { network: id, version: 2 }, ADMIN);
    admin.send::<Done>(Method::DELETE, &path, &reclaim, None).await.unwrap();

    let id: FarmId = signing(OTHER).verifying().id(Role::Farmer).into();
    let allocations = vec!["2001:db8:b::/48".parse().unwrap()];
    let draft = FarmDraft { id: id.clone(), allocations, ..delegation(1, false).with_nodes(Vec::new()) };
    let path = format!("/v1/farms/{id}");
    let said = Delegation::new(draft, "beta".parse().unwrap(), 1).unwrap();
    send(&mut other, &path, &put(&said, OTHER)).await.unwrap();
    let dissolution = put(&Dissolution { farm: id, version: 2 }, ADMIN);
    admin.send::<Done>(Method::DELETE, &path, &dissolution, None).await.unwrap();
}

/// Changes the body of a document, a seal or a path.
fn change(
    connection: &Connection,
    (table, column, place): (&str, &str, &str),
    change: impl Fn(&[u8]) -> Vec<u8>,
) {
    let is = format!("SELECT {column} FROM {table} WHERE {place} LIMIT 1");
    let body: Vec<u8> = connection.query_row(&is, [], |row| row.get(0)).unwrap();
    let shall = format!("UPDATE {table} SET {column} = ?1 WHERE {column} = ?2");
    assert_eq!(connection.execute(&shall, (change(&body), body)).unwrap(), 1, "{place}");
}

/// The same statement, with a signature of nothing.
fn unsigned(body: &[u8]) -> Vec<u8> {
    let mut signed: Signed = from_slice(body).unwrap();
    signed.signature.0[5] ^= 1;
    to_vec(&signed).unwrap()
}

/// The same words, by somebody else.
fn stolen<T: Statement>(body: &[u8]) -> Vec<u8> {
    let signed: Signed = from_slice(body).unwrap();
    to_vec(&Signed::new(&signed.open::<T>().unwrap(), &signing(66))).unwrap()
}

/// Every group, as a registry with this key would have signed it.
fn sealed_by(connection: &Connection, key: &SigningKey) {
    let mut seals = connection.prepare("SELECT revision, body FROM seals").unwrap();
    let all: Vec<(i64, Vec<u8>)> =
        seals.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    assert!(all.len() > 1);
    for (at, body) in all {
        let group: Group = from_slice::<Signed>(&body).unwrap().open().unwrap();
        let body = to_vec(&Signed::new(&group, key)).unwrap();
        connection.execute("UPDATE seals SET body = ?2 WHERE revision = ?1", (at, body)).unwrap();
    }
}

/// A store that names another registry's key as its own.
fn named(connection: &Connection, key: &SigningKey) {
    let key = key.verifying();
    let sql = "UPDATE documents SET name = ?1, body = ?2 WHERE kind = 'key' AND name LIKE 'registry-%'";
    assert_eq!(connection.execute(sql, (format!("registry-{key}"), key.as_bytes())).unwrap(), 1);
}

const DOCUMENT: fn(&'static str) -> (&'static str, &'static str, &'static str) =
    |place| ("documents", "body", place);

/// The one that is there.
const FARM: &str = "kind = 'farm' AND model <> '\"gone\"'";

/// What is broken, and how.
type Break = (&'static str, fn(&Connection));

const BREAKS: [Break; 24] = [
    ("a farm's signature", |db| change(db, DOCUMENT(FARM), unsigned)),
    ("a network's signature", |db| change(db, DOCUMENT("kind = 'network'"), unsigned)),
    ("a node's signature", |db| change(db, DOCUMENT("kind = 'node'"), unsigned)),
    ("a device's signature", |db| change(db, DOCUMENT("kind = 'device'"), unsigned)),
    ("a farm by another's key", |db| {
        change(db, DOCUMENT(FARM), stolen::<sixfold_core::trust::Delegation>);
    }),
    ("a network by another's key", |db| {
        change(db, DOCUMENT("kind = 'network' AND model <> '\"gone\"'"), stolen::<NetworkStatement>);
    }),
    ("a deletion by another's key", |db| {
        change(db, DOCUMENT("kind = 'network' AND name LIKE '%/gone'"), stolen::<NetworkStatement>);
    }),
    ("a leaving by another's key", |db| {
        change(db, DOCUMENT("kind = 'node' AND model = '\"gone\"'"), stolen::<Leaving>);
    }),
    ("a network that another than the operator took back", |db| {
        change(db, DOCUMENT("kind = 'network' AND name LIKE '%/taken'"), stolen::<Reclaim>);
    }),
    ("a farm that another than the operator took away", |db| {
        change(db, DOCUMENT("kind = 'farm' AND model = '\"gone\"'"), stolen::<Dissolution>);
    }),
    ("all seals of another registry", |db| sealed_by(db, &signing(66))),
    ("the key of another registry", |db| named(db, &signing(66))),
    ("a second registry", |db| {
        let key = signing(66).verifying();
        let sql = "INSERT INTO documents VALUES ('key', ?1, 1, ?2, '\"bytes\"', 1)";
        assert_eq!(db.execute(sql, (format!("registry-{key}"), key.as_bytes())).unwrap(), 1);
    }),
    ("a statement of another kind", |db| {
        let farm = Signed::new(&delegation(2, true), &signing(FARMER));
        change(db, DOCUMENT("kind = 'device'"), |_| to_vec(&farm).unwrap());
    }),
    ("no statement", |db| change(db, DOCUMENT(FARM), |_| b"farm".to_vec())),
    ("a farm that means something else", |db| {
        let sql = "UPDATE documents SET model = replace(model, '\"host_firewall\":false', '\"host_firewall\":true') WHERE kind = 'farm' AND model <> '\"gone\"'";
        assert_eq!(db.execute(sql, []).unwrap(), 1);
    }),
    ("a device that means something else", |db| {
        let sql = "UPDATE documents SET model = replace(model, '5000', '5001') WHERE kind = 'device'";
        assert_eq!(db.execute(sql, []).unwrap(), 1);
    }),
    ("a version that was not signed", |db| {
        let sql = "UPDATE documents SET version = 7 WHERE kind = 'farm' AND model <> '\"gone\"'";
        assert_eq!(db.execute(sql, []).unwrap(), 1);
    }),
    ("a seal's signature", |db| change(db, ("seals", "body", "true ORDER BY revision DESC"), unsigned)),
    ("a seal of another registry", |db| {
        let leaf = Leaf::Grant(Granted {
            key: serde_json::from_str(r#"{"number":1,"index":"1000"}"#).unwrap(),
            generation: sixfold_core::id::Generation(1),
            network: network(),
            seat: Seat::Exit,
            ports: None,
            own_v4: None,
        });
        let (group, _) = seal(&[leaf], 1, &signing(66));
        change(db, ("seals", "body", "true ORDER BY revision DESC"), |_| to_vec(&group).unwrap());
    }),
    ("a path that leads nowhere", |db| {
        change(db, ("grants", "path", "seat = 'exit' AND released_at IS NULL"), |path| {
            let mut path: Value = from_slice(path).unwrap();
            path["index"] = 77.into();
            to_vec(&path).unwrap()
        });
    }),
    ("ports that were not signed", |db| {
        let sql = "UPDATE grants SET ports = '1024-1024' WHERE seat = 'exit' AND released_at IS NULL";
        assert_eq!(db.execute(sql, []).unwrap(), 1);
    }),
    ("ports that are kept back", |db| {
        let sql = "UPDATE grants SET ports = NULL WHERE seat = 'exit' AND released_at IS NULL";
        assert_eq!(db.execute(sql, []).unwrap(), 1);
    }),
    ("a grant that was given to another", |db| {
        let sql = "UPDATE grants SET generation = 2 WHERE seat = 'exit' AND released_at IS NULL";
        assert_eq!(db.execute(sql, []).unwrap(), 1);
    }),
];

/// Names in place of ids, which are long.
fn plain(finding: &Finding) -> String {
    let mut text = finding.to_string();
    let names = [(farm().to_string(), "FARM"), (network().tenant.to_string(), "TENANT")];
    let nodes = [(NODES[0], "HOLDER"), (NODES[1], "OTHER"), (9, "LEFT")];
    for (id, name) in nodes.map(|(seed, name)| (node(seed).to_string(), name)).into_iter().chain(names) {
        text = text.replace(&id, name);
    }
    // Prefixes are drawn.
    text.split_whitespace()
        .map(|word| match word.len() == 4 && word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => "NIB".to_owned(),
            false => match word.split_once('-') {
                Some((index, "1:")) if index.len() == 4 => "NIB-1:".to_owned(),
                _ => word.to_owned(),
            },
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_signature_path_and_meaning_that_is_broken_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (used, template) = (dir.path().join("used.db"), dir.path().join("sound.db"));
    furnished(&used).await;
    assert_eq!(copy(&used, &template, fsck).unwrap().findings, []);
    let mut told = String::new();
    for (name, breaks) in BREAKS {
        let path = dir.path().join("broken.db");
        fs::copy(&template, &path).unwrap();
        let connection = Connection::open(&path).unwrap();
        for rule in ["documents_grow", "grants_grow"] {
            connection.execute_batch(&format!("DROP TRIGGER {rule}")).unwrap();
        }
        breaks(&connection);
        drop(connection);
        let findings = fsck(&Sqlite::open_to_read(&path).unwrap()).unwrap().findings;
        let findings: Vec<_> = findings.iter().filter(|finding| finding.place != "database").collect();
        assert!(!findings.is_empty(), "{name} is not found");
        writeln!(told, "{name}").unwrap();
        let mut lines: Vec<String> = findings.iter().map(|finding| plain(finding)).collect();
        lines.sort();
        lines.iter().for_each(|line| writeln!(told, "  {line}").unwrap());
        fs::remove_file(path).unwrap();
    }
    insta::assert_snapshot!(told);
}

/// Which signatures a store is proven by hangs on the keys that it names. Who could write all of it, seals and key, is found by the
/// registry's own key.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_another_registry_is_served_by_none_but_that_one() {
    let dir = tempfile::tempdir().unwrap();
    let (used, path) = (dir.path().join("used.db"), dir.path().join("copied.db"));
    furnished(&used).await;
    assert_eq!(copy(&used, &path, fsck).unwrap().findings, []);
    let start = |seed: u8, operator: u8| {
        let sealer = Signing { key: signing(seed), operator: Some(signing(operator).verifying()) };
        let store = Box::new(Sqlite::open(&path).unwrap());
        let (service, thread) =
            Service::start(store, Some(Box::new(sealer)), Box::new(SystemClock), PREFIXES_PER_TENANT)?;
        drop(service);
        thread.join().unwrap();
        Ok::<(), StoreError>(())
    };
    let other = start(66, ADMIN).unwrap_err();
    let (known, own) = (signing(REGISTRY).verifying(), signing(66).verifying());
    assert_eq!(
        other.to_string(),
        format!("the store is of the registry with key {known}, and this one has {own}")
    );
    assert_eq!(
        other.hint(),
        "put back the key file that it was made with: nodes that joined believe no other key"
    );
    // An operator may be followed by another: what the one before took back stays so.
    start(REGISTRY, 67).unwrap();
    let sound = |prove: fn(&Sqlite) -> Result<Proven, StoreError>| {
        assert_eq!(prove(&Sqlite::open_to_read(&path).unwrap()).unwrap().findings, []);
    };
    sound(fsck);
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("DROP TRIGGER documents_grow").unwrap();
    sealed_by(&connection, &signing(66));
    named(&connection, &signing(66));
    drop(connection);
    let findings = fsck_sealed(&Sqlite::open_to_read(&path).unwrap()).unwrap().findings;
    assert!(findings.iter().all(|finding| finding.place == "database"), "{findings:?}");
    assert!(matches!(start(REGISTRY, ADMIN), Err(StoreError::OtherKey { .. })));
}
