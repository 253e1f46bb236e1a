//! The registry without HTTP: durable allocations one at a time and by 64 callers, through the service with signatures,
//! beside bare SQLite writing the very same rows in the very same groups; what it keeps in memory; what a change and a
//! snapshot cost when a whole /48 is granted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::scope;
use std::time::Instant;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use sixfold_core::limit::PREFIXES_PER_TENANT;
use sixfold_core::model::{
    ExitDraft, FarmDraft, NetworkDraft, NodeDraft, Reach, SlotDraft, SlotKey, Upstream,
};
use sixfold_core::trust::SigningKey;
use sixfold_registry::seal::Signing;
use sixfold_registry::service::{Op, Request, Said, Service, SystemClock};
use sixfold_registry::store::Sqlite;

use crate::Setting;
use crate::failed::Failed;
use crate::figure::{Aim, Figure, Samples, Unit};

/// Callers that ask at the same time.
const CALLERS: usize = 64;
/// Nodes of a network of the full farm: with its exit point it takes sixteen prefixes.
const MEMBERS: usize = 15;
/// Networks that fill a slot, and the last one of a /48, a part of which is never granted.
const FULL: [usize; 2] = [256, 240];
/// Bytes of a document: about a signed network's.
const DOCUMENT: usize = 400;

/// The two /48s of the farm: one alone has 61,184 prefixes.
const PREFIXES: [&str; 2] = ["2001:db8:a::/48", "2001:db8:b::/48"];

pub(super) fn run(setting: Setting) -> Result<Vec<Figure>, Failed> {
    let mut figures = sizes(setting)?;
    figures.extend(durable(setting)?);
    Ok(figures)
}

fn failed(what: &'static str) -> impl Fn(Box<dyn std::error::Error>) -> Failed {
    move |error| Failed::meaningless(what, crate::failed::chain(&*error))
}

/// A folder that goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Failed> {
        let path = std::env::temp_dir().join(format!("sixfold-bench-registry-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(Failed::system("make a folder"))?;
        Ok(Self(path))
    }

    fn fresh(&self, name: &str) -> PathBuf {
        for ending in ["", "-wal", "-shm", ".lock"] {
            drop(fs::remove_file(self.0.join(format!("{name}{ending}"))));
        }
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A service over a store on the disk, with a farm of two /48s.
struct Registry {
    service: Service,
    nodes: usize,
}

type Failure = Box<dyn std::error::Error>;

impl Registry {
    fn open(path: &Path, nodes: usize) -> Result<(Self, std::thread::JoinHandle<()>), Failure> {
        let signer = Signing { key: SigningKey::from_seed(&[7; 32]), operator: None };
        let store = Box::new(Sqlite::open(path)?);
        let (service, thread) =
            Service::start(store, Some(Box::new(signer)), Box::new(SystemClock), PREFIXES_PER_TENANT)?;
        Ok((Self { service, nodes }, thread))
    }

    /// The farm: 17 slots, each held by a node.
    fn furnish(&self) -> Result<(), Failure> {
        self.ask(
            "farmer",
            Op::PutFarm { said: said(1), farm: farm(0)?, invited: None, facts: BTreeMap::new() },
        )?;
        for at in 0..self.nodes {
            let address = Some(format!("2001:db8:ffff::{:x}/64", at + 16).parse()?);
            let reach = Reach::Public { address, address_v4: None };
            let node = NodeDraft { id: format!("n{at}").parse()?, reach, nic: "eth0".parse()?, mtu: 1500 };
            let (farm, token) = ("farm".parse()?, Some(format!("token-{at}")));
            self.ask("farmer", Op::PutNode { said: said(1), farm, node, token })?;
        }
        self.ask(
            "farmer",
            Op::PutFarm { said: said(2), farm: farm(SLOTS)?, invited: None, facts: BTreeMap::new() },
        )
    }

    fn ask(&self, who: &str, op: Op) -> Result<(), Failure> {
        let request = Request { who: who.parse()?, key: None, op, by: None, confirmed: None };
        self.service.ask(request)?;
        Ok(())
    }

    /// A network of one tenant: on so many nodes from the n-th, by the s-th slot.
    fn network(&self, name: usize, members: usize, slot: usize) -> Result<(), Failure> {
        let tenant = format!("t{}", name % 512);
        let nodes = (0..members).map(|at| format!("n{}", (name * 7 + at) % self.nodes).parse());
        let network = NetworkDraft {
            id: format!("{tenant}/w{name}").parse()?,
            nodes: nodes.collect::<Result<_, _>>()?,
            exit: ExitDraft {
                farm: "farm".parse()?,
                prefix: Some(PREFIXES[slot / 15].parse()?),
                slot: u8::try_from(slot % 15 + 1)?.try_into()?,
            },
            workloads: Vec::new(),
            exposures: Vec::new(),
            own_v4: Default::default(),
            local_v4: false,
        };
        let key = Some(format!("key-{name}").parse()?);
        let op = Op::PutNetwork { said: said(1), network };
        self.service.ask(Request { who: tenant.parse()?, key, op, by: None, confirmed: None })?;
        Ok(())
    }

    /// Many callers at once, each with its part of these networks. Returns when the last is answered.
    fn networks(&self, all: &[(usize, usize, usize)]) -> Result<(), Failure> {
        let call = |caller| {
            let mut part = all.iter().skip(caller).step_by(CALLERS);
            part.try_for_each(|(name, members, slot)| self.network(*name, *members, *slot))
        };
        let call = &call;
        let outcomes: Vec<Result<(), String>> = scope(|scope| {
            let threads: Vec<_> = (0..CALLERS)
                .map(|caller| scope.spawn(move || call(caller).map_err(|it| it.to_string())))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err("a caller panicked".into())))
                .collect()
        });
        outcomes.into_iter().collect::<Result<(), String>>().map_err(Into::into)
    }

    fn grants(&self) -> usize {
        self.service.read(|state| state.ledger().grants().len())
    }
}

const SLOTS: usize = 17;

fn said(version: u64) -> Said {
    Said { version, body: vec![b'x'; DOCUMENT].into() }
}

fn farm(slots: usize) -> Result<FarmDraft, Failure> {
    let slot = |at: usize| -> Result<SlotDraft, Failure> {
        let key =
            SlotKey { prefix: PREFIXES[at / 15].parse()?, slot: u8::try_from(at % 15 + 1)?.try_into()? };
        Ok(SlotDraft::new(key, vec![format!("n{at}").parse()?]))
    };
    Ok(FarmDraft {
        id: "farm".parse()?,
        allocations: PREFIXES.iter().map(|prefix| prefix.parse()).collect::<Result<_, _>>()?,
        upstream: Upstream::default(),
        management: Vec::new(),
        host_firewall: false,
        provisions: Vec::new(),
        nodes: Vec::new(),
        slots: (0..slots).map(slot).collect::<Result<_, _>>()?,
    })
}

/// Durable allocations, of one prefix and an exit point each, beside bare SQLite.
fn durable(setting: Setting) -> Result<Vec<Figure>, Failed> {
    let folder = Folder::new()?;
    let sizes =
        [("one at a time", setting.size(500, 3), false), ("64 callers", setting.size(20_000, 64), true)];
    let mut figures = Vec::new();
    for (what, count, grouped) in sizes {
        let (mut ours, mut bare, mut groups) = (Samples::default(), Samples::default(), 0);
        for _ in 0..setting.rounds {
            let (seconds, rows) = allocate(&folder, count, grouped).map_err(failed("durable allocations"))?;
            groups = rows.len();
            ours.push(seconds / count as f64);
            let replayed = replay(&folder, &rows).map_err(failed("bare SQLite"))?;
            bare.push(replayed / count as f64);
        }
        let what = format!("a durable allocation, {what}: {count} in {groups} commits");
        figures.push(
            Figure::new(what, Unit::Seconds, ours)
                .beside("the same rows by bare SQLite", bare)
                .aiming(Aim::Times(0.6)),
        );
    }
    Ok(figures)
}

/// What one commit wrote: statements and their values.
type Rows = Vec<Vec<(usize, Vec<Value>)>>;

/// The seconds that so many allocations took, and what they wrote.
fn allocate(folder: &Folder, count: usize, grouped: bool) -> Result<(f64, Rows), Failure> {
    let path = folder.fresh("ours.db");
    let (registry, thread) = Registry::open(&path, SLOTS)?;
    registry.furnish()?;
    let before = registry.service.read(|state| state.revision().0);
    let all: Vec<_> = (0..count).map(|name| (name, 1, name % SLOTS)).collect();
    let started = Instant::now();
    if grouped {
        registry.networks(&all)?;
    } else {
        all.iter().try_for_each(|(name, members, slot)| registry.network(*name, *members, *slot))?;
    }
    let seconds = started.elapsed().as_secs_f64();
    drop(registry);
    thread.join().map_err(|_| "the writer panicked")?;
    Ok((seconds, rows(&path, before)?))
}

/// Tables, and how many columns each has.
const TABLES: [(&str, usize); 4] = [("seals", 2), ("grants", 13), ("documents", 6), ("answers", 5)];

/// The rows that each commit after one wrote, in order.
fn rows(path: &Path, after: u64) -> Result<Rows, Failure> {
    let connection = Connection::open(path)?;
    let mut commits = std::collections::BTreeMap::<i64, Vec<(usize, Vec<Value>)>>::new();
    for (at, (table, columns)) in TABLES.into_iter().enumerate() {
        let mut statement = connection.prepare(&format!("SELECT * FROM {table} WHERE revision > ?1"))?;
        let mut rows = statement.query([i64::try_from(after)?])?;
        while let Some(row) = rows.next()? {
            let values = (0..columns).map(|column| row.get(column)).collect::<Result<Vec<Value>, _>>()?;
            commits.entry(row.get("revision")?).or_default().push((at, values));
        }
    }
    Ok(commits.into_values().collect())
}

/// The seconds that bare SQLite takes for the same rows in the same groups: no rule but the keys.
fn replay(folder: &Folder, commits: &Rows) -> Result<f64, Failure> {
    let connection = Connection::open(folder.fresh("bare.db"))?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.execute_batch(
        "CREATE TABLE head (one INTEGER PRIMARY KEY, revision INTEGER); INSERT INTO head VALUES (1, 0);
         CREATE TABLE seals (revision INTEGER PRIMARY KEY, body BLOB);
         CREATE TABLE slots (number INTEGER, slot INTEGER, revision INTEGER, PRIMARY KEY (number, slot)) WITHOUT ROWID;
         CREATE TABLE grants (number INTEGER, slot INTEGER, prefix INTEGER, network TEXT, seat TEXT, generation INTEGER,
            released_at INTEGER, released_revision INTEGER, holders TEXT, late TEXT, seal INTEGER, path BLOB,
            revision INTEGER, PRIMARY KEY (number, prefix)) WITHOUT ROWID;
         CREATE UNIQUE INDEX in_force ON grants (network, seat);
         CREATE TABLE documents (kind TEXT, name TEXT, version INTEGER, body BLOB, model TEXT, revision INTEGER,
            PRIMARY KEY (kind, name));
         CREATE TABLE answers (who TEXT, key TEXT, request BLOB, at INTEGER, revision INTEGER,
            PRIMARY KEY (who, key));",
    )?;
    let inserts = TABLES
        .map(|(table, columns)| format!("INSERT INTO {table} VALUES ({})", vec!["?"; columns].join(", ")));
    let slot = "INSERT INTO slots VALUES (?, ?, ?) ON CONFLICT (number, slot) DO UPDATE SET revision = excluded.revision";
    let started = Instant::now();
    for (commit, revision) in commits.iter().zip(1_i64..) {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        connection.prepare_cached("UPDATE head SET revision = ?")?.execute([revision])?;
        let mut slots = std::collections::BTreeSet::new();
        for (table, values) in commit {
            if let (1, [Value::Integer(number), Value::Integer(of), ..]) = (*table, &values[..])
                && slots.insert((*number, *of))
            {
                connection.prepare_cached(slot)?.execute([*number, *of, revision])?;
            }
            connection.prepare_cached(&inserts[*table])?.execute(params_from_iter(values))?;
        }
        connection.prepare_cached("COMMIT")?.execute([])?;
    }
    Ok(started.elapsed().as_secs_f64())
}

/// What a full farm costs: memory, a snapshot, a change.
fn sizes(setting: Setting) -> Result<Vec<Figure>, Failed> {
    measured(setting).map_err(failed("a full farm"))
}

/// All networks of the first /48, and four slots' worth of the second at most: 61,184 grants, and 65,536.
fn filling(slots: std::ops::Range<usize>) -> Vec<(usize, usize, usize)> {
    let of = |slot: usize| {
        (0..if slot == 14 { FULL[1] } else { FULL[0] }).map(move |at| (slot * 256 + at, MEMBERS, slot))
    };
    slots.flat_map(of).collect()
}

fn measured(setting: Setting) -> Result<Vec<Figure>, Failure> {
    let folder = Folder::new()?;
    let path = folder.fresh("full.db");
    let nodes = 240;
    let (registry, thread) = Registry::open(&path, nodes)?;
    registry.furnish()?;
    let mut fresh = 1_000_000;
    let few = filling(0..1).into_iter().take(setting.size(62, 2)).collect::<Vec<_>>();
    registry.networks(&few)?;
    let small = change(&registry, &mut fresh, setting)?;
    let at_small = registry.grants();
    let rest: Vec<_> = filling(0..setting.size(15, 1))
        .into_iter()
        .skip(few.len())
        .take(setting.size(usize::MAX, 4))
        .collect();
    registry.networks(&rest)?;
    drop(registry);
    thread.join().map_err(|_| "the writer panicked")?;

    let before = resident()?;
    let started = Instant::now();
    let (registry, thread) = Registry::open(&path, nodes)?;
    let loaded = started.elapsed().as_secs_f64();
    let memory = resident()? - before;
    let grants = registry.grants();
    let mut figures = vec![
        Figure::new(format!("the service's memory at {grants} grants"), Unit::Bytes, one(memory))
            .beside("its file", one(fs::metadata(&path)?.len() as f64)),
        Figure::new(format!("a start at {grants} grants"), Unit::Seconds, one(loaded)),
    ];
    for (node, what) in [("n100", "a node"), ("n0", "the holder of a full slot")] {
        let (mut built, mut written) = (Samples::default(), Samples::default());
        for _ in 0..setting.rounds {
            let started = Instant::now();
            let snapshot = registry.service.read(|state| state.snapshot(&node.parse().expect("a label")));
            built.push(started.elapsed().as_secs_f64());
            let started = Instant::now();
            let text = serde_json::to_vec(&snapshot.ok_or("no snapshot")?)?;
            written.push(started.elapsed().as_secs_f64());
            drop(text);
        }
        let what = format!("the snapshot of {what} at {grants} grants");
        figures.push(Figure::new(what, Unit::Seconds, built).beside("writing it as JSON", written));
    }
    let more: Vec<_> = filling(15..setting.size(17, 15))
        .into_iter()
        .take((65_536 - grants.min(65_536)) / (MEMBERS + 1))
        .collect();
    registry.networks(&more)?;
    let at_large = registry.grants();
    let large = change(&registry, &mut fresh, setting)?;
    let what = format!("one change at {at_large} grants");
    let figure = Figure::new(what, Unit::Seconds, large).beside(format!("at {at_small}"), small);
    figures.push(figure.aiming(Aim::Times(0.1)));
    drop(registry);
    thread.join().map_err(|_| "the writer panicked")?;
    Ok(figures)
}

fn one(value: f64) -> Samples {
    [value].into_iter().collect()
}

/// One network more, in the last slot, which stays the emptiest: seconds, for each round the mean of some.
fn change(registry: &Registry, fresh: &mut usize, setting: Setting) -> Result<Samples, Failure> {
    let mut samples = Samples::default();
    for _ in 0..setting.rounds {
        let count = setting.size(20, 1);
        let started = Instant::now();
        for _ in 0..count {
            *fresh += 1;
            registry.network(*fresh, 1, SLOTS - 1)?;
        }
        samples.push(started.elapsed().as_secs_f64() / count as f64);
    }
    Ok(samples)
}

/// Bytes of this process that are in memory.
fn resident() -> Result<f64, Failure> {
    let text = fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = text.split(' ').nth(1).ok_or("no second number")?.parse()?;
    Ok(pages * 4096.0)
}
