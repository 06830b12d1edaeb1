//! Lists of flats and keys for people, page by page.

use rusqlite::{named_params, params};

use super::{CacheReader, StoreError, sql, unsigned};

/// One page of a list, as of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The rows, a JSON object each.
    pub rows: Vec<String>,
    /// Rows of the whole list.
    pub total: u64,
}

/// Which keys of an intercom are listed; the default lists all.
#[derive(Clone, Debug, Default)]
pub struct KeyFilter {
    /// A part of the key as the cloud writes it, 14 hex digits; case does not matter.
    pub search: Option<String>,
    /// Of this user.
    pub user_id: Option<u64>,
    /// Of the flat with this record id.
    pub flat_id: Option<u64>,
    /// Of no user.
    pub unbound: bool,
}

impl CacheReader {
    /// Whether there are flats of this intercom.
    pub fn has_intercom(&self, intercom: u64) -> Result<bool, StoreError> {
        self.readers.look_up(|connection| {
            connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM flats WHERE intercom = ?1)")?
                .query_row(params![sql(intercom)], |row| row.get(0))
        })
    }

    /// Flats of an intercom in order of their record ids: each its document without `keys` and `users`, and
    /// `intercom_id` after its own members. `search` is a part of the number on the door. Reads all flats of the
    /// intercom to count them.
    pub fn flat_page(
        &self,
        intercom: u64,
        search: Option<&str>,
        offset: u64,
        limit: u64,
    ) -> Result<Page, StoreError> {
        const MATCH: &str =
            "intercom = :intercom AND (:search IS NULL OR instr(CAST(flat AS TEXT), :search) > 0)";
        self.readers.walk(|connection| {
            let intercom = sql(intercom);
            let total = connection.query_row(
                &format!("SELECT count(*) FROM flats WHERE {MATCH}"),
                named_params! { ":intercom": intercom, ":search": search },
                |row| row.get(0),
            )?;
            let rows = connection
                .prepare(&format!(
                    "SELECT json_set(json_remove(b.body, '$.keys', '$.users'), '$.intercom_id', b.intercom)
                     FROM (SELECT intercom, id FROM flats WHERE {MATCH} ORDER BY id LIMIT :limit OFFSET :offset) f
                     JOIN bodies b ON b.intercom = f.intercom AND b.id = f.id ORDER BY f.id"
                ))?
                .query_map(
                    named_params! {
                        ":intercom": intercom, ":search": search, ":limit": sql(limit), ":offset": sql(offset),
                    },
                    |row| row.get(0),
                )?
                .collect::<rusqlite::Result<_>>()?;
            Ok(Page { rows, total: unsigned(total) })
        })
    }

    /// Key records of an intercom, flat by flat in order of their record ids, then in the cloud's order: each the
    /// key object with `"flat":{"id","flat"}` after its own members. Reads all keys of the intercom to count them.
    pub fn key_page(
        &self,
        intercom: u64,
        filter: &KeyFilter,
        offset: u64,
        limit: u64,
    ) -> Result<Page, StoreError> {
        const MATCH: &str = "intercom = :intercom
            AND (:search IS NULL OR instr(printf('%014X', code), :search) > 0)
            AND (:user IS NULL OR user_id = :user)
            AND (:flat IS NULL OR flat_id = :flat)
            AND (NOT :unbound OR user_id IS NULL)";
        self.readers.walk(|connection| {
            let intercom = sql(intercom);
            let search = filter.search.as_deref().map(str::to_ascii_uppercase);
            let user = filter.user_id.map(sql);
            let flat = filter.flat_id.map(sql);
            let total = connection.query_row(
                &format!("SELECT count(*) FROM keys WHERE {MATCH}"),
                named_params! {
                    ":intercom": intercom, ":search": search, ":user": user, ":flat": flat,
                    ":unbound": filter.unbound,
                },
                |row| row.get(0),
            )?;
            let rows = connection
                .prepare(&format!(
                    "SELECT json_extract(b.body, '$.keys[' || k.position || ']'), f.id, f.flat
                     FROM (SELECT intercom, flat_id, position FROM keys WHERE {MATCH}
                           ORDER BY flat_id, position LIMIT :limit OFFSET :offset) k
                     JOIN bodies b ON b.intercom = k.intercom AND b.id = k.flat_id
                     JOIN flats f ON f.intercom = k.intercom AND f.id = k.flat_id
                     ORDER BY k.flat_id, k.position"
                ))?
                .query_map(
                    named_params! {
                        ":intercom": intercom, ":search": search, ":user": user, ":flat": flat,
                        ":unbound": filter.unbound, ":limit": sql(limit), ":offset": sql(offset),
                    },
                    |row| {
                        let mut key: String = row.get(0)?;
                        // The key is an object with members: ours follows them.
                        key.pop();
                        let (id, flat): (i64, i64) = (row.get(1)?, row.get(2)?);
                        key += &format!(",\"flat\":{{\"id\":{id},\"flat\":{flat}}}}}");
                        Ok(key)
                    },
                )?
                .collect::<rusqlite::Result<_>>()?;
            Ok(Page { rows, total: unsigned(total) })
        })
    }
}
