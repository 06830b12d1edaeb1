//! The functions of schema.sql.

use crate::{part::prepare, support::postgres::Postgres};

pub fn days_and_persons() {
    let Some(postgres) = Postgres::start() else { return };
    prepare(&postgres);
    let put = |id: &str, time: &str, data: &str| {
        let insert = "
            insert into events (gateway, id, time, type, journal, sequence, event)
            values ('g', $1, $2::text::timestamptz, 't', 'j', 1, $3::text::json)";
        postgres.rows(insert, &[&id, &time, &format!(r#"{{"id":"{id}","data":{data}}}"#)]);
    };
    put("old", "2020-02-29T23:59:59.999Z", "{}");
    put("other", "2020-03-01T00:00:00Z", "{}");
    put("unset", "1970-01-01T00:00:07Z", "{}");
    put(
        "theirs",
        "2020-02-29T12:00:00Z",
        r#"{"user_id":6,"key_id":5,"key":"0000003042CAAC","decision":"granted"}"#,
    );
    put("their_unlock", "1970-01-02T00:00:07Z", r#"{"by":{"kind":"key","id":5}}"#);
    put("another's_unlock", "1970-01-02T00:00:07Z", r#"{"by":{"kind":"key","id":4}}"#);
    put("by_key", "1970-01-02T00:00:07Z", r#"{"user_id":null,"key":"0000003042CAAC"}"#);
    put("by_code", "1970-01-02T00:00:07Z", r#"{"code_id":12}"#);
    put("another's", "1970-01-02T00:00:07Z", r#"{"user_id":7,"key":"00000000000001"}"#);

    // A day that is made late takes over what came before it was there.
    postgres.rows("select make_day('2020-02-29')", &[]);
    postgres.rows("select make_day('2020-02-29')", &[]);
    assert_eq!(postgres.number("select count(*) from events_2020_02_29"), 2);
    assert_eq!(postgres.number("select count(*) from events_without_day"), 7);
    assert_eq!(postgres.number("select count(*) from events"), 9);

    assert_eq!(postgres.number("select erase_person(6, '{0000003042CAAC}', '{12}')"), 4);
    let theirs = postgres.rows("select event::text from events where id = 'theirs'", &[]);
    assert_eq!(
        theirs[0].get::<_, &str>(0),
        r#"{"id": "theirs", "data": {"decision": "granted"}, "erased": true}"#
    );
    assert_eq!(postgres.number("select count(*) from events where event::text like '%3042CAAC%'"), 0);
    let unlocks = postgres.rows("select id from events where event #> '{data,by}' is not null", &[]);
    assert_eq!(unlocks.iter().map(|row| row.get::<_, &str>(0)).collect::<Vec<_>>(), ["another's_unlock"]);

    // What a gateway without a clock recorded is corrected by what came after the clock was set.
    let moment = |uptime, clock| format!(r#"{{"boot":"b","uptime_ms":{uptime},"clock":"{clock}"}}"#);
    put("early", "1970-01-01T00:00:09Z", &moment(9_000, "unsynchronized"));
    put("late", "2020-03-02T10:00:00Z", &moment(69_000, "synchronized"));
    let corrected = "select count(*) from corrected_times
        where id = 'early' and corrected = '2020-03-02T09:59:00Z' or id = 'late' and corrected = time
            or id = 'other' and corrected is null";
    assert_eq!(postgres.number(corrected), 3);

    // What says 1970 came today.
    postgres.rows("select drop_days('2020-03-01')", &[]);
    assert_eq!(postgres.number("select count(*) from events"), 9);
    postgres.rows("update events set stored_at = '2020-02-01' where id <> 'early'", &[]);
    postgres.rows("select drop_days('2020-03-01')", &[]);
    assert_eq!(postgres.number("select count(*) from events"), 3);
    assert_eq!(postgres.number("select count(*) from pg_class where relname = 'events_2020_02_29'"), 0);
}
