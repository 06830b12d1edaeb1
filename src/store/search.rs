//! Flats by what people know of them: a number, a key, a name.

use rusqlite::{Connection, Row, named_params, params};
use serde::Deserialize;

use super::{CacheReader, Page, StoreError, sql, unsigned};

/// A flat's document without `keys` and `users`, with `intercom_id` behind its own members.
const ROW: &str =
    "SELECT json_set(json_remove(body, '$.keys', '$.users'), '$.intercom_id', intercom) FROM bodies";

/// Who may be named in a flat's document.
#[derive(Deserialize)]
struct Known<'a> {
    #[serde(borrow)]
    keys: Vec<Key<'a>>,
    #[serde(borrow)]
    users: Vec<User<'a>>,
}

#[derive(Deserialize)]
struct Key<'a> {
    #[serde(borrow)]
    user: Option<User<'a>>,
}

#[derive(Deserialize)]
struct User<'a> {
    #[serde(borrow)]
    name: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    login: std::borrow::Cow<'a, str>,
}

impl CacheReader {
    /// Flats of all intercoms whose number on the door, a key of which, or the name or login of a user of which has
    /// `search` in it, whatever its case; in order of intercom and record id: each its document without `keys` and `users`,
    /// and `intercom_id`. `None`: all. With a text that may be a name, it reads all documents.
    pub fn search(&self, search: Option<&str>, offset: u64, limit: u64) -> Result<Page, StoreError> {
        self.readers.walk(|connection| match search {
            None => all(connection, offset, limit),
            Some(search) => found(connection, search, offset, limit),
        })
    }
}

fn all(connection: &Connection, offset: u64, limit: u64) -> rusqlite::Result<Page> {
    let total: i64 = connection.query_row("SELECT count(*) FROM flats", [], |row| row.get(0))?;
    let rows = connection
        .prepare(&format!("{ROW} ORDER BY intercom, id LIMIT ?1 OFFSET ?2"))?
        .query_map(params![sql(limit), sql(offset)], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Page { rows, total: unsigned(total) })
}

fn found(connection: &Connection, search: &str, offset: u64, limit: u64) -> rusqlite::Result<Page> {
    // Keys and numbers are sought by the database, which has them apart from the documents; names by us, as SQLite knows
    // the case of ASCII alone.
    let mut statement = connection.prepare(
        "SELECT f.intercom, f.id, b.body,
                instr(CAST(f.flat AS TEXT), :search) > 0 OR EXISTS (
                    SELECT 1 FROM keys k WHERE k.intercom = f.intercom AND k.flat_id = f.id
                                           AND instr(printf('%014X', k.code), :key) > 0)
         FROM flats f JOIN bodies b ON b.intercom = f.intercom AND b.id = f.id ORDER BY f.intercom, f.id",
    )?;
    let folded = search.to_lowercase();
    let is_found = |row: &Row<'_>| -> rusqlite::Result<bool> {
        Ok(row.get(3)? || is_named(row.get_ref(2)?.as_str()?, &folded))
    };
    let mut rows =
        statement.query(named_params! { ":search": search, ":key": search.to_ascii_uppercase() })?;
    let (mut total, mut page) = (0_u64, Vec::new());
    while let Some(row) = rows.next()? {
        if is_found(row)? {
            if (offset..offset.saturating_add(limit)).contains(&total) {
                page.push((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
            }
            total += 1;
        }
    }
    let mut one = connection.prepare(&format!("{ROW} WHERE intercom = ?1 AND id = ?2"))?;
    let rows = page.into_iter().map(|(intercom, id)| one.query_row(params![intercom, id], |row| row.get(0)));
    Ok(Page { rows: rows.collect::<rusqlite::Result<_>>()?, total })
}

/// Whether a user in the document has this, in lower case, in a name or login.
fn is_named(body: &str, folded: &str) -> bool {
    let Ok(known) = serde_json::from_str::<Known<'_>>(body) else { return false };
    let holders = known.keys.iter().filter_map(|key| key.user.as_ref());
    let has = |text: &str| text.to_lowercase().contains(folded);
    known.users.iter().chain(holders).any(|user| has(&user.name) || has(&user.login))
}
