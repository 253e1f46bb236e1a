//! The embedded store: one SQLite database, written by one connection, a group to a transaction.
//!
//! Owns: the connection and its statements. A commit is durable when it comes back: write-ahead log, `synchronous=FULL`.
//! Others may read the file meanwhile (`fsck`, `backup`); a lock on a file beside it keeps a second writer away.

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use sixfold_api::event::Event;
use sixfold_core::id::{Revision, Timestamp};

use super::{
    Answer, AnswerKey, Compared, Document, DocumentId, FORGET_AT_ONCE, Group, Record, Store, StoreError,
    Told, cuts, rows, schema, text,
};

/// How long to wait for somebody else who writes: only a backup or a check that was cut in the middle holds a lock at all.
const BUSY: Duration = Duration::from_secs(5);

/// What a probe writes: as much as a tenant's largest change.
const PROBE_BYTES: usize = 1 << 20;

/// Prepared statements kept: all there are.
const STATEMENTS: usize = 32;

/// The embedded store.
#[derive(Debug)]
pub struct Sqlite {
    connection: Connection,
    /// Held for as long as this may write.
    _lock: Option<Lock>,
}

impl Sqlite {
    /// Opens a store for writing, and makes it if there is none.
    ///
    /// # Errors
    /// If somebody else writes to it, it is of a newer version or of something else, or cannot be read.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        schema::checked(&connection, &path.display().to_string())?;
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        schema::prepare(&connection, &path.display().to_string())?;
        Ok(Self { connection, _lock: Some(lock) })
    }

    /// Opens a store for reading, which somebody else may be writing to.
    ///
    /// # Errors
    /// As [`Sqlite::open`], but that nobody is kept away; and if there is none.
    pub fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        let found = schema::checked(&connection, &path.display().to_string())?;
        if found == 0 {
            return Err(StoreError::Foreign { path: path.display().to_string() });
        }
        if found < schema::SCHEMA_VERSION {
            return Err(StoreError::Older { found, known: schema::SCHEMA_VERSION });
        }
        Ok(Self { connection, _lock: None })
    }

    /// The database itself, for checking and copying it.
    #[must_use]
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The newest revision.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn head(&self) -> Result<Revision, StoreError> {
        let head =
            self.connection.prepare_cached("SELECT revision FROM head")?.query_one([], |row| row.get(0))?;
        text::revision(head)
    }

    /// Goes on beyond a revision, which was told by the same store before it was set back. Returns where it is.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn advance(&mut self, past: Revision) -> Result<Revision, StoreError> {
        let head = self.head()?;
        if past < head {
            return Ok(head);
        }
        let at = past.next();
        self.connection.prepare_cached("UPDATE head SET revision = ?1")?.execute([number(at.0)?])?;
        Ok(at)
    }

    fn revision_of(&self, key: &Compared) -> Result<Revision, StoreError> {
        let one = |sql: &str, params: &[&dyn rusqlite::ToSql]| {
            self.connection.prepare_cached(sql)?.query_row(params, |row| row.get::<_, i64>(0)).optional()
        };
        let found = match key {
            Compared::Allocations => one("SELECT coalesce(max(revision), 0) FROM allocations", &[]),
            Compared::Slot(number, slot) => one(
                "SELECT revision FROM slots WHERE number = ?1 AND slot = ?2",
                &[&number.get(), &slot.get()],
            ),
            Compared::Document(DocumentId { kind, name }) => {
                one("SELECT revision FROM documents WHERE kind = ?1 AND name = ?2", &[&kind.as_str(), name])
            }
            Compared::Tenant(tenant) => one(schema::NEWEST_OF_TENANT, &[&tenant.as_str()]),
            Compared::Kind(kind) => {
                one("SELECT coalesce(max(revision), 0) FROM documents WHERE kind = ?1", &[&kind.as_str()])
            }
            Compared::Answer(AnswerKey { who, key }) => {
                one("SELECT revision FROM answers WHERE who = ?1 AND key = ?2", &[&who.as_str(), key])
            }
        };
        text::revision(found?.unwrap_or_default())
    }

    fn write(&self, group: &Group) -> Result<Revision, StoreError> {
        for (key, read) in &group.compares {
            let found = self.revision_of(key)?;
            if found != *read {
                return Err(StoreError::Conflict { key: key.clone(), read: *read, found });
            }
        }
        cuts::at("compared");
        let revision = self.head()?.next();
        let at = number(revision.0)?;
        self.connection.prepare_cached("UPDATE head SET revision = ?1")?.execute([at])?;
        if let Some(seal) = &group.seal {
            let sql = "INSERT INTO seals (revision, body) VALUES (?1, ?2)";
            self.connection.prepare_cached(sql)?.execute(params![at, &seal[..]])?;
        }
        cuts::at("sealed");
        self.write_allocations(group, at)?;
        self.write_grants(group, at)?;
        for seal in &group.unsealed {
            let sql = "DELETE FROM seals WHERE revision = ?1";
            self.connection.prepare_cached(sql)?.execute([number(seal.0)?])?;
        }
        cuts::at("granted");
        for (id, document) in &group.documents {
            self.write_document(id, document, at)?;
        }
        cuts::at("documents written");
        self.write_answers(group, at)?;
        cuts::at("answers written");
        self.write_told(&group.told)?;
        Ok(revision)
    }

    fn write_allocations(&self, group: &Group, at: i64) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO allocations (number, prefix, seal, path, revision) VALUES (?1, ?2, ?3, ?4, ?5)";
        for (allocation, path) in &group.allocations {
            let (number, prefix) = (allocation.number().get(), allocation.whole().to_string());
            let seal = path.is_some().then_some(at);
            self.connection.prepare_cached(sql)?.execute(params![
                number,
                prefix,
                seal,
                path.as_deref(),
                at
            ])?;
        }
        Ok(())
    }

    fn write_grants(&self, group: &Group, at: i64) -> Result<(), StoreError> {
        let mut touched = None;
        for key in group.grants.keys() {
            let (number, slot) = (key.number.get(), key.index.slot().get());
            // In the order of keys, so that each slot is met once.
            if touched.replace((number, slot)) != Some((number, slot)) {
                let sql = "INSERT INTO slots (number, slot, revision) VALUES (?1, ?2, ?3)
                           ON CONFLICT (number, slot) DO UPDATE SET revision = excluded.revision";
                self.connection.prepare_cached(sql)?.execute(params![number, slot, at])?;
            }
        }
        for (key, (grant, path)) in group.releases_first() {
            let (number, slot) = (key.number.get(), key.index.slot().get());
            let released = grant.released.as_ref();
            let sql = "INSERT INTO grants VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
                ON CONFLICT (number, prefix) DO UPDATE SET network = excluded.network, seat = excluded.seat,
                generation = excluded.generation, released_at = excluded.released_at,
                released_revision = excluded.released_revision, holders = excluded.holders, late = excluded.late,
                seal = CASE WHEN excluded.generation > generation THEN excluded.seal ELSE seal END,
                path = CASE WHEN excluded.generation > generation THEN excluded.path ELSE path END,
                revision = excluded.revision, ports = excluded.ports, own_v4 = excluded.own_v4";
            let released_revision = released.map(|release| match release.is_unwritten() {
                true => Ok(at),
                false => self::number(release.revision.0),
            });
            self.connection.prepare_cached(sql)?.execute(params![
                number,
                slot,
                key.index.get(),
                grant.network.to_string(),
                text::seat(&grant.seat),
                grant.generation.0,
                released.map(|release| self::number(release.at.0)).transpose()?,
                released_revision.transpose()?,
                released.map(|release| text::nodes(&release.holders)),
                (!grant.late.is_empty()).then(|| text::nodes(&grant.late)),
                path.is_some().then_some(at),
                path.as_deref(),
                at,
                grant.ports.map(String::from),
                grant.own_v4.map(|own| own.to_string()),
            ])?;
        }
        Ok(())
    }

    fn write_document(&self, id: &DocumentId, document: &Document, at: i64) -> Result<(), StoreError> {
        let model = serde_json::to_string(&document.model).map_err(|error| StoreError::Refused {
            what: format!("the model of {id} is no JSON: {error}"),
        })?;
        let sql = "INSERT INTO documents VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (kind, name) DO UPDATE SET
            version = excluded.version, body = excluded.body, model = excluded.model, revision = excluded.revision";
        let version = number(document.version)?;
        let values = params![id.kind.as_str(), id.name, version, &document.body[..], model, at];
        self.connection.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    fn write_told(&self, told: &Told) -> Result<(), StoreError> {
        for event in &told.events {
            let body = serde_json::to_string(event)
                .map_err(|error| StoreError::Refused { what: format!("an event is no JSON: {error}") })?;
            let sql = "INSERT INTO events (number, body) VALUES (?1, ?2)";
            self.connection.prepare_cached(sql)?.execute(params![number(event.number)?, body])?;
        }
        let sql = "DELETE FROM events WHERE number <= ?1";
        self.connection.prepare_cached(sql)?.execute([number(told.forget)?])?;
        Ok(())
    }

    /// Does something, all of it or nothing.
    fn transaction<T>(&self, work: impl FnOnce(&Self) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        cuts::at("begun");
        let written = work(self).and_then(|done| {
            self.connection.prepare_cached("COMMIT")?.execute([])?;
            Ok(done)
        });
        cuts::at("committed");
        // Of what failed the database has often taken back everything by itself; where not, it is done here.
        if written.is_err() && !self.connection.is_autocommit() {
            self.connection.prepare_cached("ROLLBACK")?.execute([])?;
        }
        written
    }

    fn write_answers(&self, group: &Group, at: i64) -> Result<(), StoreError> {
        let sql = "INSERT INTO answers (who, key, request, at, revision) VALUES (?1, ?2, ?3, ?4, ?5)";
        for (key, answer) in &group.answers {
            let when = number(answer.at.0)?;
            let values = params![key.who.as_str(), key.key, &answer.request[..], when, at];
            self.connection.prepare_cached(sql)?.execute(values)?;
        }
        for who in group.askers() {
            let sql = "DELETE FROM answers WHERE rowid IN (SELECT rowid FROM answers WHERE who = ?1
                ORDER BY revision DESC, key DESC LIMIT -1 OFFSET ?2)";
            let beyond = i64::try_from(group.forget.beyond).unwrap_or(i64::MAX);
            self.connection.prepare_cached(sql)?.execute(params![who.as_str(), beyond])?;
        }
        if group.forget.before > Timestamp(0) {
            let sql = "DELETE FROM answers WHERE rowid IN (SELECT rowid FROM answers WHERE at < ?1 LIMIT ?2)";
            let (before, most) = (number(group.forget.before.0)?, FORGET_AT_ONCE);
            self.connection.prepare_cached(sql)?.execute(params![before, most])?;
        }
        Ok(())
    }
}

/// Keeps a second writer away, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone leaves it with a child process that has begun and is not yet another program.
        drop(self.0.unlock());
    }
}

/// Keeps a second writer away from the store at a path.
fn lock(path: &Path) -> Result<Lock, StoreError> {
    let file = File::options().create(true).truncate(false).write(true).open(lock_file(path)).map_err(io)?;
    locked(file, path)
}

/// The same where a writer has been before; where none was, there is nothing to hold.
pub(crate) fn lock_if_there(path: &Path) -> Result<Option<Lock>, StoreError> {
    match File::options().write(true).open(lock_file(path)) {
        Ok(file) => locked(file, path).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(error)),
    }
}

fn lock_file(path: &Path) -> PathBuf {
    let mut beside = PathBuf::from(path).into_os_string();
    beside.push(".lock");
    beside.into()
}

fn locked(file: File, path: &Path) -> Result<Lock, StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.display().to_string() }),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

fn io(source: std::io::Error) -> StoreError {
    match source.kind() {
        std::io::ErrorKind::StorageFull => StoreError::Full,
        _ => StoreError::Io { source: Box::new(source) },
    }
}

/// A number as the database holds it.
fn number(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::Refused { what: format!("{number} is over 63 bits") })
}

impl Store for Sqlite {
    fn read(&self, since: Revision, each: &mut dyn FnMut(Record, Revision)) -> Result<Revision, StoreError> {
        // One transaction: all of it as it was at one moment.
        let reading = self.connection.unchecked_transaction()?;
        let head = self.head()?;
        let since = number(since.0)?;
        rows::since(&reading, since, &mut |record| {
            let (record, at) = record?;
            each(record, at);
            Ok(())
        })?;
        reading.finish()?;
        Ok(head)
    }

    fn answer(&self, key: &AnswerKey) -> Result<Option<(Answer, Revision)>, StoreError> {
        let sql = "SELECT request, at, revision FROM answers WHERE who = ?1 AND key = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_row(params![key.who.as_str(), key.key], |row| {
            let (request, at, revision): ([u8; 32], i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok((Answer { request, at: Timestamp(u64::try_from(at).unwrap_or_default()) }, revision))
        });
        let found = found.optional()?;
        found.map(|(answer, revision)| Ok((answer, text::revision(revision)?))).transpose()
    }

    fn commit(&mut self, group: &Group) -> Result<Revision, StoreError> {
        cuts::at("before");
        self.transaction(|store| store.write(group))
    }

    fn keep(&mut self, told: &Told) -> Result<(), StoreError> {
        self.transaction(|store| store.write_told(told))
    }

    fn told(&self) -> Result<Vec<Event>, StoreError> {
        let mut statement = self.connection.prepare("SELECT number, body FROM events ORDER BY number")?;
        let mut rows = statement.query([])?;
        let mut events = Vec::new();
        while let Some(row) = rows.next()? {
            let (number, body): (i64, String) = (row.get(0)?, row.get(1)?);
            let event = serde_json::from_str(&body).map_err(|error| StoreError::Damaged {
                what: format!("event {number}"),
                why: error.to_string(),
            })?;
            events.push(event);
        }
        Ok(events)
    }

    /// The database and its log.
    fn bytes(&self) -> Result<u64, StoreError> {
        let Some(path) = self.connection.path() else { return Ok(0) };
        let log = std::fs::metadata(format!("{path}-wal")).map_or(0, |log| log.len());
        Ok(std::fs::metadata(path).map_err(io)?.len() + log)
    }

    /// Writes a file beside the database, on the same disk: within the database there may be room of its own for a little
    /// more, but not for a group.
    fn probe(&mut self) -> Result<(), StoreError> {
        let Some(path) = self.connection.path() else { return Ok(()) };
        let beside = PathBuf::from(format!("{path}.probe"));
        let written = File::create(&beside).and_then(|mut file| {
            file.write_all(&[0; PROBE_BYTES])?;
            file.sync_data()
        });
        let removed = std::fs::remove_file(&beside);
        written.and(removed).map_err(io)
    }
}
