//! What was signed is proven from the store alone: each signature, each path and each meaning is broken by hand, past what the
//! database would allow, and `fsck` says so.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, from_slice, to_vec};
use sixfold_core::key::PublicKey;
use sixfold_core::model::{DeviceReport, Seat};
use sixfold_core::trust::{
    DeviceOf, DeviceStatement, Granted, Leaf, Leaving, NetworkStatement, Signed, Statement, Subject, seal,
};
use sixfold_registry::copy::copy;
use sixfold_registry::fsck::{Finding, fsck};
use sixfold_registry::store::Sqlite;

use super::Running;
use super::flow::{
    FARMER, NODES, TENANT, delegation, farm, joined, live, network, node, node_statement, put, send, token,
};
use super::signing;

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
    let _: sixfold_api::resource::Done =
        farmer.send(axum::http::Method::DELETE, &left, &put(&leaving, FARMER), None).await.unwrap();
    let id = sixfold_core::id::NetworkId { name: "gone".parse().unwrap(), ..network() };
    let gone = NetworkStatement { version: 1, subject: Subject::Deleted(id.clone()) };
    let mut draft = match live(1, &NODES[..1]).subject {
        Subject::Live(network) => sixfold_core::model::NetworkDraft::from(network),
        Subject::Deleted(_) => panic!("it is live"),
    };
    draft.id = id.clone();
    let was = NetworkStatement { version: 1, subject: Subject::Live(draft.try_into().unwrap()) };
    send(&mut tenant, &format!("/v1/networks/{id}"), &put(&was, TENANT)).await.unwrap();
    let gone = NetworkStatement { version: 2, ..gone };
    send(&mut tenant, &format!("/v1/networks/{id}"), &put(&gone, TENANT)).await.unwrap();
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

const DOCUMENT: fn(&'static str) -> (&'static str, &'static str, &'static str) =
    |place| ("documents", "body", place);

/// What is broken, and how.
type Break = (&'static str, fn(&Connection));

const BREAKS: [Break; 19] = [
    ("a farm's signature", |db| change(db, DOCUMENT("kind = 'farm'"), unsigned)),
    ("a network's signature", |db| change(db, DOCUMENT("kind = 'network'"), unsigned)),
    ("a node's signature", |db| change(db, DOCUMENT("kind = 'node'"), unsigned)),
    ("a device's signature", |db| change(db, DOCUMENT("kind = 'device'"), unsigned)),
    ("a farm by another's key", |db| {
        change(db, DOCUMENT("kind = 'farm'"), stolen::<sixfold_core::trust::Delegation>);
    }),
    ("a network by another's key", |db| {
        change(db, DOCUMENT("kind = 'network' AND model <> '\"gone\"'"), stolen::<NetworkStatement>);
    }),
    ("a deletion by another's key", |db| {
        change(db, DOCUMENT("kind = 'network' AND model = '\"gone\"'"), stolen::<NetworkStatement>);
    }),
    ("a leaving by another's key", |db| {
        change(db, DOCUMENT("kind = 'node' AND model = '\"gone\"'"), stolen::<Leaving>);
    }),
    ("a statement of another kind", |db| {
        let farm = Signed::new(&delegation(2, true), &signing(FARMER));
        change(db, DOCUMENT("kind = 'device'"), |_| to_vec(&farm).unwrap());
    }),
    ("no statement", |db| change(db, DOCUMENT("kind = 'farm'"), |_| b"farm".to_vec())),
    ("a farm that means something else", |db| {
        let sql = "UPDATE documents SET model = replace(model, '\"host_firewall\":false', '\"host_firewall\":true') WHERE kind = 'farm'";
        assert_eq!(db.execute(sql, []).unwrap(), 1);
    }),
    ("a device that means something else", |db| {
        let sql = "UPDATE documents SET model = replace(model, '5000', '5001') WHERE kind = 'device'";
        assert_eq!(db.execute(sql, []).unwrap(), 1);
    }),
    ("a version that was not signed", |db| {
        let sql = "UPDATE documents SET version = 7 WHERE kind = 'farm'";
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
