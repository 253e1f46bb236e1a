//! All rows of a database as records, each by itself: one that is none does not stop the others.

use rusqlite::{Connection, Row};
use sixfold_core::id::Revision;

use super::{Record, StoreError, schema, text};

type Reader = fn(&Row<'_>) -> Result<Record, StoreError>;

/// The tables that records are kept in, each with how its rows are read.
const TABLES: [(&str, Reader); 4] = [
    ("SELECT * FROM seals WHERE revision > ?1", |row| {
        Ok(Record::Seal(row.get::<_, Vec<u8>>("body")?.into()))
    }),
    ("SELECT * FROM allocations WHERE revision > ?1", text::allocation),
    ("SELECT * FROM grants WHERE revision > ?1", text::grant),
    ("SELECT * FROM documents WHERE revision > ?1", text::document),
];

/// Gives every record that was changed after a revision.
pub(super) fn since(
    connection: &Connection,
    since: i64,
    each: &mut dyn FnMut(Result<(Record, Revision), StoreError>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for (sql, reader) in TABLES {
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([since])?;
        while let Some(row) = rows.next()? {
            let record = reader(row).and_then(|record| Ok((record, text::revision(row.get("revision")?)?)));
            each(record)?;
        }
    }
    Ok(())
}

/// Gives every record there is, or why it is none.
pub(crate) fn records(
    connection: &Connection,
    each: &mut dyn FnMut(Result<(Record, Revision), StoreError>),
) -> Result<(), StoreError> {
    since(connection, i64::MIN, &mut |record| {
        each(record);
        Ok(())
    })
}

/// A store as this version makes it, with nothing in it.
pub(crate) fn pristine() -> Result<Connection, StoreError> {
    let connection = Connection::open_in_memory()?;
    schema::prepare(&connection, "memory")?;
    Ok(connection)
}
