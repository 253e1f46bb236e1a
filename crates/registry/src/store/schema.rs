//! The tables of the embedded store, and the rules that the database keeps by itself.
//!
//! Owns: the schema and its version. The rules repeat what `core` computes in other words: a grant lies in its slot, a seat
//! has one prefix in force, generations and versions only grow, no grant, no number and no document is ever taken away, and
//! no seal that something stands on.
//!
//! A file of an older schema becomes one of this by the steps in between; a new one by all of them. So whatever a file has
//! been through, its tables read the same.

use rusqlite::Connection;

use super::StoreError;

/// In the file's header: that it is a registry's store ("6fld").
pub const APPLICATION_ID: i64 = 0x3666_6c64;

/// The version of the tables that the steps below come to.
pub const SCHEMA_VERSION: i64 = STEPS.len() as i64;

/// From each version to the next, beginning with nothing.
const STEPS: [&str; 8] = [
    TABLES,
    // The ports that an exit point is granted.
    "ALTER TABLE grants ADD COLUMN ports TEXT CHECK (ports IS NULL OR (seat = 'exit' AND ports LIKE '_%-_%'));",
    // What happened, for whoever asks later.
    "CREATE TABLE events (
        number INTEGER PRIMARY KEY CHECK (number > 0),
        body TEXT NOT NULL CHECK (json_valid(body))
    ) STRICT;",
    BOUNDED,
    KEYS,
    TENANTS,
    TENURES,
    // The public IPv4 address that is its network's own.
    "ALTER TABLE grants ADD COLUMN own_v4 TEXT CHECK (own_v4 IS NULL OR ports IS NOT NULL);",
];

/// An answer is no copy of what the ledger has; a seal goes when nothing stands on it; an owner's last confirmation is kept;
/// documents are compared by their kind.
const BOUNDED: &str = "
ALTER TABLE answers DROP COLUMN body;
CREATE INDEX answers_by_asker ON answers (who, revision, key);
CREATE INDEX grants_by_seal ON grants (seal);
CREATE INDEX allocations_by_seal ON allocations (seal);
DELETE FROM seals WHERE NOT EXISTS (SELECT 1 FROM grants WHERE seal = seals.revision)
    AND NOT EXISTS (SELECT 1 FROM allocations WHERE seal = seals.revision);
DROP INDEX documents_by_revision;
CREATE INDEX documents_by_kind ON documents (kind, revision);
DROP TRIGGER documents_remain;
DELETE FROM documents WHERE kind = 'confirm';
CREATE TRIGGER documents_remain BEFORE DELETE ON documents
    BEGIN SELECT RAISE(ABORT, 'a document is never taken away'); END;
";

/// The keys by which what is signed here is told from what is not. A table's conditions change only with the table.
const KEYS: &str = "
CREATE TABLE documents_with_keys (
    kind TEXT NOT NULL CHECK (kind IN ('farm', 'network', 'node', 'device', 'confirm', 'rotation', 'token', 'key', 'secret')),
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 256),
    version INTEGER NOT NULL CHECK (version > 0),
    body BLOB NOT NULL,
    model TEXT NOT NULL CHECK (json_valid(model)),
    revision INTEGER NOT NULL CHECK (revision > 0),
    PRIMARY KEY (kind, name)
) STRICT;
INSERT INTO documents_with_keys SELECT * FROM documents;
DROP TABLE documents;
ALTER TABLE documents_with_keys RENAME TO documents;
CREATE INDEX documents_by_kind ON documents (kind, revision);
CREATE TRIGGER documents_grow BEFORE UPDATE ON documents
    WHEN NEW.version <= OLD.version OR NEW.revision <= OLD.revision
    BEGIN SELECT RAISE(ABORT, 'the version of a document only grows'); END;
CREATE TRIGGER documents_remain BEFORE DELETE ON documents
    BEGIN SELECT RAISE(ABORT, 'a document is never taken away'); END;
";

/// What a tenant may have is counted over its networks.
const TENANTS: &str =
    "CREATE INDEX documents_by_tenant ON documents (substr(name, 1, instr(name, '/') - 1), revision)
    WHERE kind = 'network';";

/// Who holds exit slots. As with the keys: the table is made anew, and what hangs on it.
const TENURES: &str = "
CREATE TABLE documents_with_tenures (
    kind TEXT NOT NULL CHECK (kind IN ('farm', 'network', 'node', 'device', 'tenure', 'confirm', 'rotation', 'token', 'key', 'secret')),
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 256),
    version INTEGER NOT NULL CHECK (version > 0),
    body BLOB NOT NULL,
    model TEXT NOT NULL CHECK (json_valid(model)),
    revision INTEGER NOT NULL CHECK (revision > 0),
    PRIMARY KEY (kind, name)
) STRICT;
INSERT INTO documents_with_tenures SELECT * FROM documents;
DROP TABLE documents;
ALTER TABLE documents_with_tenures RENAME TO documents;
CREATE INDEX documents_by_kind ON documents (kind, revision);
CREATE INDEX documents_by_tenant ON documents (substr(name, 1, instr(name, '/') - 1), revision)
    WHERE kind = 'network';
CREATE TRIGGER documents_grow BEFORE UPDATE ON documents
    WHEN NEW.version <= OLD.version OR NEW.revision <= OLD.revision
    BEGIN SELECT RAISE(ABORT, 'the version of a document only grows'); END;
CREATE TRIGGER documents_remain BEFORE DELETE ON documents
    BEGIN SELECT RAISE(ABORT, 'a document is never taken away'); END;
";

/// The newest of a tenant's networks, by that index.
pub(super) const NEWEST_OF_TENANT: &str = "SELECT revision FROM documents
    WHERE kind = 'network' AND substr(name, 1, instr(name, '/') - 1) = ?1 ORDER BY revision DESC LIMIT 1";

const TABLES: &str = "
CREATE TABLE head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL CHECK (revision >= 0)
) STRICT;
INSERT INTO head VALUES (1, 0);
CREATE TRIGGER head_grows BEFORE UPDATE ON head WHEN NEW.revision <= OLD.revision
    BEGIN SELECT RAISE(ABORT, 'the revision only grows'); END;

CREATE TABLE seals (
    revision INTEGER PRIMARY KEY CHECK (revision > 0),
    body BLOB NOT NULL
) STRICT;

CREATE TABLE allocations (
    number INTEGER PRIMARY KEY CHECK (number BETWEEN 1 AND 65535),
    prefix TEXT NOT NULL UNIQUE,
    seal INTEGER REFERENCES seals (revision),
    path BLOB,
    revision INTEGER NOT NULL CHECK (revision > 0),
    CHECK ((seal IS NULL) = (path IS NULL))
) STRICT;
CREATE TRIGGER allocations_stay BEFORE UPDATE ON allocations
    BEGIN SELECT RAISE(ABORT, 'a number is never given to another'); END;
CREATE TRIGGER allocations_remain BEFORE DELETE ON allocations
    BEGIN SELECT RAISE(ABORT, 'a number is never taken away'); END;

CREATE TABLE slots (
    number INTEGER NOT NULL REFERENCES allocations (number),
    slot INTEGER NOT NULL CHECK (slot BETWEEN 1 AND 15),
    revision INTEGER NOT NULL CHECK (revision > 0),
    PRIMARY KEY (number, slot)
) STRICT, WITHOUT ROWID;

CREATE TABLE grants (
    number INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    prefix INTEGER NOT NULL CHECK (prefix BETWEEN 0x1000 AND 0xfeff),
    network TEXT NOT NULL CHECK (network LIKE '%_/_%'),
    seat TEXT NOT NULL CHECK (seat = 'exit' OR seat LIKE 'node _%'),
    generation INTEGER NOT NULL CHECK (generation BETWEEN 1 AND 0xffffffff),
    released_at INTEGER,
    released_revision INTEGER CHECK (released_revision <= revision),
    holders TEXT,
    late TEXT,
    seal INTEGER REFERENCES seals (revision),
    path BLOB,
    revision INTEGER NOT NULL CHECK (revision > 0),
    PRIMARY KEY (number, prefix),
    FOREIGN KEY (number, slot) REFERENCES slots (number, slot),
    CHECK (slot = prefix >> 12),
    CHECK ((seal IS NULL) = (path IS NULL)),
    CHECK ((released_at IS NULL) = (released_revision IS NULL) AND (released_at IS NULL) = (holders IS NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX grants_one_in_force ON grants (network, seat) WHERE released_at IS NULL;
CREATE INDEX grants_by_revision ON grants (revision);
CREATE TRIGGER grants_grow BEFORE UPDATE ON grants
    WHEN NEW.generation < OLD.generation OR NEW.revision <= OLD.revision
        OR (NEW.generation = OLD.generation AND (NEW.network <> OLD.network OR NEW.seat <> OLD.seat
            OR (OLD.released_at IS NOT NULL AND NEW.released_at IS NULL)))
    BEGIN SELECT RAISE(ABORT, 'a prefix changes hands only with a higher generation'); END;
CREATE TRIGGER grants_remain BEFORE DELETE ON grants
    BEGIN SELECT RAISE(ABORT, 'a grant is never taken away'); END;

CREATE TABLE documents (
    kind TEXT NOT NULL CHECK (kind IN ('farm', 'network', 'node', 'device', 'confirm', 'rotation', 'token', 'secret')),
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 256),
    version INTEGER NOT NULL CHECK (version > 0),
    body BLOB NOT NULL,
    model TEXT NOT NULL CHECK (json_valid(model)),
    revision INTEGER NOT NULL CHECK (revision > 0),
    PRIMARY KEY (kind, name)
) STRICT;
CREATE INDEX documents_by_revision ON documents (revision);
CREATE TRIGGER documents_grow BEFORE UPDATE ON documents
    WHEN NEW.version <= OLD.version OR NEW.revision <= OLD.revision
    BEGIN SELECT RAISE(ABORT, 'the version of a document only grows'); END;
CREATE TRIGGER documents_remain BEFORE DELETE ON documents
    BEGIN SELECT RAISE(ABORT, 'a document is never taken away'); END;

CREATE TABLE answers (
    who TEXT NOT NULL,
    key TEXT NOT NULL CHECK (length(key) BETWEEN 1 AND 64),
    request BLOB NOT NULL CHECK (length(request) = 32),
    at INTEGER NOT NULL,
    body BLOB NOT NULL,
    revision INTEGER NOT NULL CHECK (revision > 0),
    PRIMARY KEY (who, key)
) STRICT;
CREATE INDEX answers_by_age ON answers (at);
";

/// Makes the tables of a new file, or of an older one those of this version, or says why the file is not one of ours or not one for this version.
pub(super) fn prepare(connection: &Connection, path: &str) -> Result<(), StoreError> {
    let version = checked(connection, path)?;
    let steps = STEPS.get(usize::try_from(version).unwrap_or_default()..).unwrap_or_default();
    if !steps.is_empty() {
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; {} PRAGMA application_id = {APPLICATION_ID};
             PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;",
            steps.concat()
        ))?;
    }
    Ok(())
}

/// The version of a file's tables: 0 for a new file.
pub(super) fn checked(connection: &Connection, path: &str) -> Result<i64, StoreError> {
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let foreign = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => StoreError::Foreign { path: path.to_owned() },
        _ => error.into(),
    };
    let (application, version) = (number("application_id").map_err(foreign)?, number("user_version")?);
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(foreign)?;
    if tables > 0 && application != APPLICATION_ID || tables == 0 && application != 0 {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    if version > SCHEMA_VERSION {
        return Err(StoreError::Newer { found: version, known: SCHEMA_VERSION });
    }
    if tables > 0 && version < 1 {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(connection: &Connection) -> Vec<(String, Option<String>)> {
        let mut statement = connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    /// However many networks a tenant has: a commit is not dearer for it.
    #[test]
    fn a_tenants_newest_network_is_found_by_its_index() {
        let new = Connection::open_in_memory().unwrap();
        prepare(&new, "new").unwrap();
        let mut plan = new.prepare(&format!("EXPLAIN QUERY PLAN {NEWEST_OF_TENANT}")).unwrap();
        let plan: Vec<String> =
            plan.query_map(["acme"], |row| row.get("detail")).unwrap().map(Result::unwrap).collect();
        assert_eq!(
            plan,
            ["SEARCH documents USING INDEX documents_by_tenant (<expr>=?)"],
            "nothing is sorted"
        );
    }

    /// A store as each earlier version made it, with a grant in it.
    #[test]
    fn a_store_of_an_older_schema_becomes_one_of_this_and_keeps_what_is_in_it() {
        let new = Connection::open_in_memory().unwrap();
        prepare(&new, "new").unwrap();
        for version in 1..STEPS.len() {
            let old = Connection::open_in_memory().unwrap();
            let steps = STEPS[..version].concat();
            old.execute_batch(&format!(
                "{steps} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version};
                 INSERT INTO allocations (number, prefix, revision) VALUES (1, '2001:db8:a::/48', 1);
                 INSERT INTO slots VALUES (1, 1, 1);
                 INSERT INTO seals VALUES (1, x'01'), (2, x'02');
                 INSERT INTO documents VALUES ('confirm', 'abc', 1, x'00', '\"bytes\"', 1),
                    ('token', 'alpha-1', 3, x'0102', '\"bytes\"', 2);
                 INSERT INTO grants (number, slot, prefix, network, seat, generation, seal, path, revision)
                    VALUES (1, 1, 4096, 'acme/web', 'exit', 1, 2, x'00', 2);"
            ))
            .unwrap();
            prepare(&old, "old").unwrap();
            assert_eq!(tables(&old), tables(&new), "from schema {version}");
            assert_eq!(checked(&old, "old").unwrap(), SCHEMA_VERSION);
            let mut statement = old.prepare("SELECT network, ports FROM grants").unwrap();
            let kept: (String, Option<String>) =
                statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            assert_eq!(kept, ("acme/web".to_owned(), None));
            prepare(&old, "old").unwrap();
            let count = |sql| old.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
            // From the schema on that keeps no more than it needs.
            if version < 4 {
                assert_eq!(count("SELECT sum(revision) FROM seals"), 2, "the one that a grant stands on");
            }
            let confirmed = count("SELECT count(*) FROM documents WHERE kind = 'confirm'");
            assert_eq!(confirmed, i64::from(version >= 4), "from schema {version}");
            let token =
                "SELECT kind, name, version, body, model, revision FROM documents WHERE kind = 'token'";
            let token: (String, String, i64, Vec<u8>, String, i64) = old
                .query_row(token, [], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
                })
                .unwrap();
            let (kind, name, model) = ("token".to_owned(), "alpha-1".to_owned(), "\"bytes\"".to_owned());
            assert_eq!(token, (kind, name, 3, vec![1, 2], model, 2), "from schema {version}");
            let held = "INSERT INTO documents VALUES ('tenure', '1-1', 3, x'00', '{}', 3)";
            assert_eq!(old.execute(held, []).unwrap(), 1, "a table with room for who holds slots");
        }
    }
}
