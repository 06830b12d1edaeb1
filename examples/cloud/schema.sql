-- What `cloud --store postgres://…` keeps, for PostgreSQL 13 or later. `cloud --store … prepare` runs this; what is there
-- stays. One database, or schema, for each topic_prefix: within it a gateway's id is unique.

-- Events as they came. `json` keeps the bytes, which never change; `jsonb` would not, and refuses some texts.
-- Partitioned by the day of the event's own time, for a key of a partitioned table must have the partition in it, and an
-- event's time never changes, as the moment of its arrival does with each copy. The gateway is the one of the topic, which
-- is the event's `source` without "intercom-gateway/": the consumer takes no other.
create table if not exists events (
    gateway text not null,
    id text not null,
    time timestamptz not null,
    type text not null,
    subject text,
    journal text not null,
    sequence bigint not null,
    event json not null,
    stored_at timestamptz not null default now(),
    primary key (gateway, id, time)
) partition by range (time);

-- What falls into no day: a gateway whose clock is not set has 1970 and the like; `corrected_times` puts it right.
create table if not exists events_without_day partition of events default;

-- When it happened. Where the gateway's clock was not set, the first event of the same boot at which it was says so, by the time
-- since the boot; null where there is none, and `sequence` alone says between what it was.
create or replace view corrected_times as
select e.gateway, e.id, e.time, case
    when e.event #>> '{data,clock}' = 'synchronized' then e.time
    else (
        select s.time - ((s.event #>> '{data,uptime_ms}')::bigint - (e.event #>> '{data,uptime_ms}')::bigint)
            * interval '1 millisecond'
        from events s
        where s.gateway = e.gateway and s.event #>> '{data,boot}' = e.event #>> '{data,boot}'
            and s.event #>> '{data,clock}' = 'synchronized'
        order by (s.event #>> '{data,uptime_ms}')::bigint limit 1)
    end as corrected
from events e;

-- Ranges that have come, or are gone, and were not yet taken into account: the consumer's word to the keeper, in the
-- transaction that stores the events. The keeper takes all, and puts back what is there after a hole: so it is small.
create table if not exists arrived (
    gateway text not null,
    journal text not null,
    first bigint not null,
    last bigint not null,
    gone boolean not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

-- Up to where a journal is stored without a hole, but for what is gone.
create table if not exists journals (
    gateway text not null,
    journal text not null,
    through bigint not null,
    grown_at timestamptz not null default clock_timestamp(),
    primary key (gateway, journal)
) with (fillfactor = 50);

-- What a gateway says is gone for good; some of a range may have come before.
create table if not exists gone (
    gateway text not null,
    journal text not null,
    first bigint not null,
    last bigint not null,
    told_at timestamptz not null default now(),
    primary key (gateway, journal, first, last)
);

-- What is to be in force at a gateway. The digest is computed when flats change, never at a request.
create table if not exists buildings (
    gateway text primary key,
    revision bigint not null,
    digest text not null,
    changed_at timestamptz not null default now()
);

-- Flats as they are sent, with `intercom`.
create table if not exists flats (
    gateway text not null references buildings on delete cascade,
    intercom bigint not null,
    id bigint not null,
    document text not null,
    primary key (gateway, intercom, id)
);

-- What gateways are still to be told, written in the transaction that changes the flats. No delta: all flats.
create table if not exists changes (
    number bigint generated always as identity primary key,
    gateway text not null,
    delta text
);

-- Commands and what became of them.
create table if not exists commands (
    id uuid primary key,
    gateway text not null,
    command json not null,
    sent_at timestamptz not null default now(),
    result json,
    ended_at timestamptz
);
create index if not exists commands_sent_at on commands (sent_at);

-- Makes the partition of a day, of UTC, and moves into it what has come before it was there.
create or replace function make_day(day date) returns void language plpgsql as $$
declare
    name text := 'events_' || to_char(day, 'YYYY_MM_DD');
    first timestamptz := day::timestamp at time zone 'UTC';
    next timestamptz := (day + 1)::timestamp at time zone 'UTC';
begin
    if to_regclass(name) is not null then
        return;
    end if;
    execute format('create table %I (like events including defaults including constraints)', name);
    -- Nothing comes in between.
    lock table events_without_day in access exclusive mode;
    execute format(
        'with moved as (delete from events_without_day where time >= %L and time < %L returning *)
         insert into %I select * from moved', first, next, name);
    execute format('alter table events attach partition %I for values from (%L) to (%L)', name, first, next);
end $$;

-- Makes the partitions of yesterday, today and the next days; the keeper does, each hour.
create or replace function make_days(days integer) returns void language plpgsql as $$
begin
    for day in -1 .. days loop
        perform make_day((now() at time zone 'UTC')::date + day);
    end loop;
end $$;

-- Retention: drops the days before one, a moment each. `journals` stays: what is dropped is not asked for again, and a replay
-- by hand brings back what the gateway still has.
--     select drop_days((now() - interval '400 days')::date);
create or replace function drop_days(before date) returns void language plpgsql as $$
declare
    name text;
begin
    for name in
        select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'events'::regclass and c.relname ~ '^events_\d{4}_\d\d_\d\d$'
            and to_date(substr(c.relname, 8), 'YYYY_MM_DD') < before
    loop
        execute format('drop table %I', name);
    end loop;
    -- What fits no day may say 1970 and have come today.
    delete from events_without_day where greatest(time, stored_at) < before::timestamp at time zone 'UTC';
    delete from commands where sent_at < before::timestamp at time zone 'UTC';
end $$;

-- Erases a person: by the platform's id of the user, and by the keys (14 upper-case hex digits) and codes that were theirs,
-- by the ids of their records. What happened at the door stays; who it was does not. The rows stay, so that a replay does
-- not bring the rest back. The gateway has its own copy for `keep_days`, and flats change by the platform's own way.
--     select erase_person(6, '{0000003042CAAC}', '{}');
create or replace function erase_person(person bigint, keys text[], codes bigint[]) returns bigint language sql as $$
    with own as materialized (
        select gateway, id, time, event #>> '{data,key_id}' as key_id from events
        where (event #>> '{data,user_id}') = person::text
            or (event #>> '{data,key}') = any (keys)
            or (event #>> '{data,code_id}') = any (codes::text[])),
    -- An unlock names the key or the code that it is due to by the cloud's id.
    unlocks as (
        select e.gateway, e.id, e.time from events e
        where (event #>> '{data,by,kind}' = 'code' and (event #>> '{data,by,id}') = any (codes::text[]))
            or (event #>> '{data,by,kind}' = 'key' and exists (
                select from own where own.gateway = e.gateway and own.key_id = e.event #>> '{data,by,id}'))),
    erased as (
        update events e set event = (
            (event::jsonb #- '{data,key}' #- '{data,raw}' #- '{data,key_id}' #- '{data,user_id}' #- '{data,code_id}'
                #- '{data,flats}' #- '{data,digits}' #- '{data,by}') || '{"erased":true}')::json
        from (select gateway, id, time from own union select * from unlocks) those
        where (e.gateway, e.id, e.time) = (those.gateway, those.id, those.time)
        returning 1)
    select count(*) from erased;
$$;

select make_days(7);
