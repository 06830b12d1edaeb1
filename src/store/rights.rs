//! Codes and permissions of flats, and which intercoms have codes, or had some of late.
//!
//! Invariant: of an intercom that has codes, or had some at a moment that nobody knows, `keypads` has a row without a
//! time. What is typed at its keypads may be somebody's code.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{events::timestamp, sql, unsigned};
use crate::{
    domain::{DoorCode, json},
    flats::{CodeRecord, FlatId, FlatRecord, Permission},
};

/// Stands for all intercoms, where it is not known which of them had codes.
const ALL: i64 = 0;

/// A code of a flat, with what decides about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeRow<'a> {
    /// The flat's intercom.
    pub intercom: u64,
    /// The flat's record id.
    pub flat_id: u64,
    /// The flat's number on the door.
    pub flat: u64,
    /// The code's id.
    pub code_id: u64,
    /// What is typed.
    pub code: DoorCode,
    /// The code's own zoneless expiry date, `YYYY-MM-DD hh:mm:ss`.
    pub expired_at: Option<&'a str>,
    /// That of its user.
    pub user_expired_at: Option<&'a str>,
    /// Whether its user may open by code.
    pub permitted: bool,
}

/// An intercom that has codes, or had some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeypadRow {
    /// The intercom; `None`: any of them may have had some.
    pub intercom: Option<u64>,
    /// When it had the last one; `None`: it has some, or nobody knows when.
    pub until: Option<Timestamp>,
}

/// Two flats of an intercom that have a code in common, or its id.
pub(super) struct Shared {
    pub(super) intercom: u64,
    /// The flat that is told of, and the index of its code.
    pub(super) flat_id: u64,
    pub(super) index: u64,
    /// The other one.
    pub(super) other: u64,
    pub(super) member: &'static str,
}

/// Whether the database has the tables: an older version's has none until this version has opened it for writing.
fn are_known(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'permissions')")?
        .query_row([], |row| row.get(0))
}

/// Writes what a flat has, in place of nothing.
pub(super) fn put(connection: &Connection, record: &FlatRecord) -> rusqlite::Result<()> {
    let (intercom, id) = (sql(record.intercom), sql(record.document.id));
    for (position, code) in (0_i64..).zip(&record.codes) {
        let user = code.user.and_then(|user| record.user(user));
        connection.prepare_cached("INSERT INTO codes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?.execute(
            params![
                intercom,
                id,
                position,
                sql(code.code.as_u64()),
                sql(code.id),
                code.user.map(sql),
                code.expired_at,
                user.and_then(|user| user.expired_at.as_deref()),
            ],
        )?;
    }
    for (position, permission) in (0_i64..).zip(&record.permissions) {
        connection.prepare_cached("INSERT INTO permissions VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(
            params![
                intercom,
                id,
                sql(permission.user),
                position,
                permission.is_open_door_key,
                permission.is_open_door_code,
            ],
        )?;
    }
    Ok(())
}

/// Deletes what a flat has.
pub(super) fn delete(connection: &Connection, intercom: i64, id: i64) -> rusqlite::Result<()> {
    for table in ["codes", "permissions"] {
        connection
            .prepare_cached(&format!("DELETE FROM {table} WHERE intercom = ?1 AND flat_id = ?2"))?
            .execute(params![intercom, id])?;
    }
    Ok(())
}

/// A code, or an id of one, that is there twice in an intercom; of its flats that one is told of which `is_new`. While
/// a change is under way it may be there twice, so no constraint of the table forbids it.
pub(super) fn shared(
    connection: &Connection,
    is_new: impl Fn(FlatId) -> bool,
) -> rusqlite::Result<Option<Shared>> {
    for (column, member) in [("code", "code"), ("code_id", "id")] {
        let twice = format!(
            "SELECT c.intercom, c.flat_id, c.position FROM codes c JOIN (
                 SELECT intercom, {column} AS twice FROM codes
                 GROUP BY intercom, {column} HAVING count(*) > 1 LIMIT 1
             ) t ON c.intercom = t.intercom AND c.{column} = t.twice ORDER BY c.flat_id, c.position"
        );
        let mut statement = connection.prepare_cached(&twice)?;
        let found: Vec<(u64, u64, u64)> = statement
            .query_map([], |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?), unsigned(row.get(2)?))))?
            .collect::<rusqlite::Result<_>>()?;
        let told = found.iter().find(|(intercom, id, _)| is_new((*intercom, *id))).or(found.last());
        if let Some(&(intercom, flat_id, index)) = told {
            let other = found.iter().find(|other| (other.1, other.2) != (flat_id, index));
            let other = other.map_or(flat_id, |other| other.1);
            return Ok(Some(Shared { intercom, flat_id, index, other, member }));
        }
    }
    Ok(None)
}

/// Notes which intercoms have codes now, and since when others have none; `at`: now, where that is known for certain;
/// `is_whole`: all that the cloud has is in force.
pub(super) fn note_keypads(
    connection: &Connection,
    at: Option<Timestamp>,
    is_whole: bool,
) -> rusqlite::Result<()> {
    if is_whole {
        connection.execute("DELETE FROM keypads WHERE intercom = ?1", [ALL])?;
    }
    connection.execute(
        "INSERT INTO keypads SELECT DISTINCT intercom, NULL FROM codes WHERE true
         ON CONFLICT (intercom) DO UPDATE SET until_ms = NULL",
        [],
    )?;
    if let Some(at) = at {
        connection.execute(
            "UPDATE keypads SET until_ms = ?1
             WHERE until_ms IS NULL AND intercom <> ?2 AND intercom NOT IN (SELECT intercom FROM codes)",
            params![at.as_millisecond(), ALL],
        )?;
    }
    Ok(())
}

/// Notes that any intercom may have had codes: what was known of it could not be read.
pub(super) fn forget_keypads(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("INSERT OR REPLACE INTO keypads VALUES (?1, NULL)", [ALL]).map(|_| ())
}

/// Copies into `new` which intercoms of `old` have codes, or had some.
pub(super) fn copy_keypads(old: &Connection, new: &Connection) -> rusqlite::Result<()> {
    let copied = each_keypad(old, |row| {
        let intercom = row.intercom.map_or(ALL, sql);
        let until = row.until.map(Timestamp::as_millisecond);
        new.execute("INSERT OR REPLACE INTO keypads VALUES (?1, ?2)", params![intercom, until]).map(|_| ())
    });
    copied.or_else(|_| forget_keypads(new))
}

/// Walks over the codes of all flats.
pub(super) fn each_code(connection: &Connection, mut take: impl FnMut(CodeRow<'_>)) -> rusqlite::Result<()> {
    if !are_known(connection)? {
        return Ok(());
    }
    let mut statement = connection.prepare(
        "SELECT c.intercom, c.flat_id, f.flat, c.code_id, c.code, c.expired_at, c.user_expired_at,
                coalesce(p.by_code, 1)
         FROM codes c JOIN flats f ON f.intercom = c.intercom AND f.id = c.flat_id
         LEFT JOIN permissions p ON p.intercom = c.intercom AND p.flat_id = c.flat_id AND p.user_id = c.user_id",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(code) = DoorCode::from_u64(unsigned(row.get(4)?)) {
            take(CodeRow {
                intercom: unsigned(row.get(0)?),
                flat_id: unsigned(row.get(1)?),
                flat: unsigned(row.get(2)?),
                code_id: unsigned(row.get(3)?),
                code,
                expired_at: row.get_ref(5)?.as_str_or_null()?,
                user_expired_at: row.get_ref(6)?.as_str_or_null()?,
                permitted: row.get(7)?,
            });
        }
    }
    Ok(())
}

/// Walks over the intercoms that have codes, or had some.
pub(super) fn each_keypad(
    connection: &Connection,
    mut take: impl FnMut(KeypadRow) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    if !are_known(connection)? {
        return Ok(());
    }
    let mut statement = connection.prepare("SELECT intercom, until_ms FROM keypads")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let intercom: i64 = row.get(0)?;
        take(KeypadRow {
            intercom: (intercom != ALL).then(|| unsigned(intercom)),
            until: row.get::<_, Option<i64>>(1)?.map(timestamp),
        })?;
    }
    Ok(())
}

/// The query of keys, each with whether its user may open by key.
pub(super) fn keys_query(connection: &Connection) -> rusqlite::Result<String> {
    let (permitted, join) = if are_known(connection)? {
        (
            "coalesce(p.by_key, 1)",
            "LEFT JOIN permissions p
             ON p.intercom = k.intercom AND p.flat_id = k.flat_id AND p.user_id = k.user_id",
        )
    } else {
        ("1", "")
    };
    Ok(format!(
        "SELECT k.intercom, k.flat_id, k.code, k.key_id, k.user_id, k.expired_at, {permitted} FROM keys k {join}
         ORDER BY k.intercom, k.flat_id, k.position"
    ))
}

/// The members of a flat document that a flat has of these: `,"codes":[…],"permissions":[…]`, or nothing.
pub(super) fn members(connection: &Connection, intercom: i64, id: i64) -> rusqlite::Result<String> {
    if !are_known(connection)? {
        return Ok(String::new());
    }
    let codes: Vec<CodeRecord> = connection
        .prepare_cached(
            "SELECT code_id, code, user_id, expired_at FROM codes WHERE intercom = ?1 AND flat_id = ?2
             ORDER BY position",
        )?
        .query_map([intercom, id], |row| {
            let code = DoorCode::from_u64(unsigned(row.get(1)?));
            Ok(CodeRecord {
                id: unsigned(row.get(0)?),
                code: code.ok_or_else(|| rusqlite::Error::IntegralValueOutOfRange(1, 0))?,
                user: row.get::<_, Option<i64>>(2)?.map(unsigned),
                expired_at: row.get(3)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let permissions: Vec<Permission> = connection
        .prepare_cached(
            "SELECT user_id, by_key, by_code FROM permissions WHERE intercom = ?1 AND flat_id = ?2
             ORDER BY position",
        )?
        .query_map([intercom, id], |row| {
            Ok(Permission {
                user: unsigned(row.get(0)?),
                is_open_door_key: row.get(1)?,
                is_open_door_code: row.get(2)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut members = String::new();
    if !codes.is_empty() {
        members += &format!(",\"codes\":{}", json::text(&codes));
    }
    if !permissions.is_empty() {
        let permissions = json::text(&permissions);
        members += &format!(",\"permissions\":{permissions}");
    }
    Ok(members)
}
