//! The database itself: pages, indices, references, and that all its rules are there.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::Findings;
use crate::store::{StoreError, pristine};

/// Findings of one kind that are told, of a file that is broken all over.
const MOST: usize = 100;

pub(super) fn check(connection: &Connection, findings: &mut Findings) -> Result<(), StoreError> {
    let mut statement = connection.prepare(&format!("PRAGMA integrity_check({MOST})"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let words: String = row.get(0)?;
        if words != "ok" {
            findings.add("database", words);
        }
    }
    let sql = "SELECT \"table\", parent, count(*) FROM pragma_foreign_key_check GROUP BY 1, 2";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (table, parent, count): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        findings.add("database", format!("{count} rows of {table} name what is not in {parent}"));
    }
    let (is, shall) = (schema(connection)?, schema(&pristine()?)?);
    for (name, sql) in &shall {
        match is.get(name) {
            None => findings.add("database", format!("{name} is missing: a rule is not kept")),
            Some(now) if now != sql => {
                findings.add("database", format!("{name} is not as this version makes it"))
            }
            Some(_) => {}
        }
    }
    for name in is.keys().filter(|name| !shall.contains_key(*name)) {
        findings.add("database", format!("{name} is not of this version"));
    }
    Ok(())
}

/// Tables, indices and triggers by name, each with its words.
fn schema(connection: &Connection) -> Result<BTreeMap<String, String>, StoreError> {
    let mut statement =
        connection.prepare("SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_schema")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
