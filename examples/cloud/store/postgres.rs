//! PostgreSQL, of version 13 or later; schema.sql says what is in it.

use std::{collections::BTreeSet, ops::RangeInclusive, time::Duration};

use anyhow::{Context, ensure};
use intercom_gateway::domain::Mono;
use serde_json::Value;
use tokio_postgres::{Client, Config, NoTls, Row, Statement, types::ToSql};
use uuid::Uuid;

use super::{
    super::{
        building::{Building, Flats, MESSAGE, documents, read_flat, revision},
        events::Event,
        journals::{JournalId, Journals},
    },
    Kept, State,
};

/// How long a server that says nothing may be taken for being there.
const PATIENCE: Duration = Duration::from_secs(20);

/// The keeper's advisory lock, and that of the sync server that tells changes: any two numbers that nothing else uses in
/// this database.
const KEEPER: i64 = 0x6b65_6570;
const CHANGES: i64 = 0x6368_616e;

/// Most rows of `arrived` that the keeper takes at once.
const ARRIVALS: i64 = 100_000;

/// In the order of their key: two consumers that store the same events, in another order, would wait for each other.
const PUT: &str = "
    with given as (
        select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[])
            as given (gateway, id, time, type, subject, journal, sequence, event)
    ), stored as (
        insert into events (gateway, id, time, type, subject, journal, sequence, event)
        select gateway, id, time::timestamptz, type, subject, journal, sequence, event::json
        from given order by gateway, id
        on conflict do nothing
    )
    insert into arrived (gateway, journal, first, last, gone)
    select gateway, journal, sequence, sequence, false from given
    union all
    select *, true from unnest($9::text[], $10::text[], $11::bigint[], $12::bigint[])";

/// Ranges of journals, as columns.
#[derive(Default)]
struct Ranges<'a> {
    gateways: Vec<&'a str>,
    journals: Vec<&'a str>,
    firsts: Vec<i64>,
    lasts: Vec<i64>,
}

impl<'a> Ranges<'a> {
    fn push(&mut self, gateway: &'a str, journal: &'a str, first: u64, last: u64) {
        self.gateways.push(gateway);
        self.journals.push(journal);
        self.firsts.push(number(first));
        self.lasts.push(number(last));
    }

    fn columns(&self) -> [&(dyn ToSql + Sync); 4] {
        [&self.gateways, &self.journals, &self.firsts, &self.lasts]
    }
}

/// A connection.
pub struct Postgres {
    client: Client,
    put: Option<Statement>,
    /// The keeper's.
    journals: Journals,
    /// The last of the changes that were given out.
    last_change: i64,
}

impl Postgres {
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        let mut config: Config = url.parse().context("--store is no URL of PostgreSQL")?;
        // A server that is gone without a word is noticed: else its keeper would keep its place, and a consumer its share.
        config.connect_timeout(PATIENCE).keepalives_idle(PATIENCE).tcp_user_timeout(PATIENCE);
        let (client, connection) = config.connect(NoTls).await.context("no connection to the store")?;
        // Ends with the client; what breaks it is the error of whatever was asked.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        // Whatever the server's default is: an acknowledgement promises that a power cut takes nothing back.
        client.batch_execute("set synchronous_commit = on; set statement_timeout = '20s'").await?;
        Ok(Self { client, put: None, journals: Journals::default(), last_change: 0 })
    }

    pub async fn prepare(&self) -> anyhow::Result<()> {
        self.client.batch_execute(include_str!("../schema.sql")).await.context("schema.sql")
    }

    pub async fn put(&mut self, events: Vec<Event>) -> anyhow::Result<()> {
        let put = match &self.put {
            Some(put) => put,
            None => {
                let put = self
                    .client
                    .prepare(PUT)
                    .await
                    .context("are the tables made? `cloud --store … prepare`")?;
                self.put.insert(put)
            }
        };
        let column = |column: fn(&Event) -> &str| events.iter().map(column).collect::<Vec<&str>>();
        let subjects: Vec<Option<&str>> = events.iter().map(|event| event.subject.as_deref()).collect();
        let sequences: Vec<i64> = events.iter().map(|event| number(event.sequence)).collect();
        let mut pruned = Ranges::default();
        for event in &events {
            if let Some((journal, range)) = &event.pruned {
                pruned.push(&event.gateway, journal, *range.start(), *range.end());
            }
        }
        let [gateways, journals, firsts, lasts] = pruned.columns();
        let parameters: [&(dyn ToSql + Sync); 12] = [
            &column(|event| &event.gateway),
            &column(|event| &event.id),
            &column(|event| &event.time),
            &column(|event| &event.kind),
            &subjects,
            &column(|event| &event.journal),
            &sequences,
            &column(|event| &event.text),
            gateways,
            journals,
            firsts,
            lasts,
        ];
        self.client.execute(put, &parameters).await?;
        Ok(())
    }

    /// Takes the keeper's lock, which is this connection's, and ends with it; then knows how far all journals are.
    pub async fn may_keep(&mut self) -> anyhow::Result<bool> {
        let locked = self.lock(KEEPER).await?;
        if locked {
            self.journals = Journals::default();
            let rows = "select gateway, journal, through from journals order by grown_at";
            for row in self.client.query(rows, &[]).await? {
                self.journals.resume(journal(&row), natural(&row, 2)?);
            }
            self.journals.forget_told();
        }
        Ok(locked)
    }

    /// Takes an advisory lock, unless another connection has it.
    async fn lock(&self, key: i64) -> anyhow::Result<bool> {
        Ok(self.client.query_one("select pg_try_advisory_lock($1)", &[&key]).await?.get(0))
    }

    /// Takes what has arrived into account, and writes down how far journals are then. An error leaves the store as it was,
    /// and ends this connection's being the keeper.
    pub async fn keep(&mut self, now: Mono, patience: Duration) -> anyhow::Result<Kept> {
        let transaction = self.client.transaction().await?;
        let arrived = "
            delete from arrived where ctid = any (array(select ctid from arrived limit $1))
            returning gateway, journal, first, last, gone";
        let mut touched = BTreeSet::new();
        for row in transaction.query(arrived, &[&ARRIVALS]).await? {
            let (journal, range) = (journal(&row), natural(&row, 2)?..=natural(&row, 3)?);
            touched.insert(journal.clone());
            if !row.get::<_, bool>(4) {
                self.journals.have(journal, range);
            } else if self.journals.gone(journal.clone(), range.clone()) {
                let gone = "insert into gone (gateway, journal, first, last) values ($1, $2, $3, $4) on conflict do nothing";
                let (first, last) = (number(*range.start()), number(*range.end()));
                transaction.execute(gone, &[&journal.0, &journal.1, &first, &last]).await?;
            }
        }
        if !touched.is_empty() {
            let (mut throughs, mut beyonds) = (Ranges::default(), Ranges::default());
            for id in &touched {
                let Some((through, beyond)) = self.journals.place(id) else { continue };
                throughs.push(&id.0, &id.1, 0, through);
                beyond.iter().for_each(|(first, last)| beyonds.push(&id.0, &id.1, *first, *last));
            }
            let grow = "
                insert into journals (gateway, journal, through)
                select gateway, journal, through
                from unnest($1::text[], $2::text[], $3::bigint[]) as grown (gateway, journal, through)
                on conflict (gateway, journal) do update set through = excluded.through, grown_at = clock_timestamp()
                where journals.through < excluded.through";
            transaction.execute(grow, &[&throughs.gateways, &throughs.journals, &throughs.lasts]).await?;
            let rest = "
                insert into arrived (gateway, journal, first, last, gone)
                select *, false from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])";
            transaction.execute(rest, &beyonds.columns()).await?;
        }
        transaction.commit().await?;
        Ok(Kept { committed: self.journals.committed(), replays: self.journals.replays(now, patience) })
    }

    pub async fn gone(&mut self, journal: &JournalId, range: RangeInclusive<u64>) -> anyhow::Result<()> {
        let gone = "insert into arrived (gateway, journal, first, last, gone) values ($1, $2, $3, $4, true)";
        let (first, last) = (number(*range.start()), number(*range.end()));
        self.client.execute(gone, &[&journal.0, &journal.1, &first, &last]).await?;
        Ok(())
    }

    pub async fn make_days(&self) -> anyhow::Result<()> {
        self.client.execute("select make_days(7)", &[]).await?;
        Ok(())
    }

    pub async fn change(&mut self, gateway: &str, flats: Flats) -> anyhow::Result<()> {
        let transaction = self.client.transaction().await?;
        let first =
            "insert into buildings (gateway, revision, digest) values ($1, $2, '') on conflict do nothing";
        let is_new = transaction.execute(first, &[&gateway, &number(revision())]).await? > 0;
        let row = "select revision from buildings where gateway = $1 for update";
        let before = natural(&transaction.query_one(row, &[&gateway]).await?, 0)?;
        let mut stored = Flats::new();
        for row in transaction.query("select document from flats where gateway = $1", &[&gateway]).await? {
            let (place, flat) = read_flat(row.get(0)).context("a flat in the store is wrong")?;
            stored.insert(place, flat);
        }
        if stored == flats && !is_new {
            return Ok(());
        }
        let mut building = Building::new(before, stored.clone());
        let delta = building.become_these(flats);
        let (revision, digest) = building.state();
        for (intercom, id) in stored.keys().filter(|place| !building.flats().contains_key(place)) {
            let remove = "delete from flats where gateway = $1 and intercom = $2 and id = $3";
            transaction.execute(remove, &[&gateway, &number(*intercom), &number(*id)]).await?;
        }
        let changed: Flats = building
            .flats()
            .iter()
            .filter(|(place, flat)| stored.get(place) != Some(flat))
            .map(|(place, flat)| (*place, flat.clone()))
            .collect();
        let intercoms: Vec<i64> = changed.keys().map(|(intercom, _)| number(*intercom)).collect();
        let ids: Vec<i64> = changed.keys().map(|(_, id)| number(*id)).collect();
        let upsert = "
            insert into flats (gateway, intercom, id, document)
            select $1, * from unnest($2::bigint[], $3::bigint[], $4::text[])
            on conflict (gateway, intercom, id) do update set document = excluded.document";
        let texts: Vec<String> = documents(&changed).collect();
        transaction.execute(upsert, &[&gateway, &intercoms, &ids, &texts]).await?;
        let state = "update buildings set revision = $2, digest = $3, changed_at = now() where gateway = $1";
        transaction.execute(state, &[&gateway, &number(revision), &digest]).await?;
        // A gateway without flats of ours has no use for a delta.
        let delta = (!is_new && delta.len() <= MESSAGE).then_some(delta);
        let tell = "insert into changes (gateway, delta) values ($1, $2)";
        transaction.execute(tell, &[&gateway, &delta]).await?;
        Ok(transaction.commit().await?)
    }

    pub async fn state(&self, gateway: &str) -> anyhow::Result<Option<State>> {
        let state = "select revision, digest from buildings where gateway = $1";
        let row = self.client.query_opt(state, &[&gateway]).await?;
        row.map(|row| Ok((natural(&row, 0)?, row.get(1)))).transpose()
    }

    /// In one statement, so that documents and digest are of one moment.
    pub async fn flats(&self, gateway: &str) -> anyhow::Result<Option<(State, Vec<String>)>> {
        let flats = "
            select revision, digest, document from buildings left join flats using (gateway)
            where gateway = $1 order by intercom, id";
        let rows = self.client.query(flats, &[&gateway]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let state = (natural(row, 0)?, row.get(1));
        Ok(Some((state, rows.iter().filter_map(|row| row.get(2)).collect())))
    }

    pub async fn changes(&mut self) -> anyhow::Result<Vec<(String, Option<String>)>> {
        if !self.lock(CHANGES).await? {
            return Ok(Vec::new());
        }
        let rows = "select number, gateway, delta from changes order by number limit 1000";
        let rows = self.client.query(rows, &[]).await?;
        match rows.last() {
            Some(last) => self.last_change = last.get(0),
            None => self.unlock_changes().await?,
        }
        Ok(rows.iter().map(|row| (row.get(1), row.get(2))).collect())
    }

    pub async fn forget_changes(&self) -> anyhow::Result<()> {
        self.client.execute("delete from changes where number <= $1", &[&self.last_change]).await?;
        self.unlock_changes().await
    }

    async fn unlock_changes(&self) -> anyhow::Result<()> {
        self.client.execute("select pg_advisory_unlock($1)", &[&CHANGES]).await?;
        Ok(())
    }

    pub async fn note_command(&self, id: Uuid, gateway: &str, command: &Value) -> anyhow::Result<()> {
        let command_of =
            "insert into commands (id, gateway, command) values ($1::text::uuid, $2, $3::text::json)";
        self.client.execute(command_of, &[&id.to_string(), &gateway, &command.to_string()]).await?;
        Ok(())
    }

    pub async fn note_result(&self, id: Uuid, result: &Value) -> anyhow::Result<()> {
        let result_of =
            "update commands set result = $2::text::json, ended_at = now() where id = $1::text::uuid";
        self.client.execute(result_of, &[&id.to_string(), &result.to_string()]).await?;
        Ok(())
    }
}

/// A number of a gateway's, which is below 2^53.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn natural(row: &Row, column: usize) -> anyhow::Result<u64> {
    let number: i64 = row.get(column);
    ensure!(number >= 0, "the store has {number} for what is never below zero");
    Ok(number.unsigned_abs())
}

fn journal(row: &Row) -> JournalId {
    (row.get(0), row.get(1))
}
