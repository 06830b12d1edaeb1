PRAGMA user_version = 2;
CREATE TABLE journal (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    pruned INTEGER NOT NULL
) STRICT;
CREATE TABLE boots (id INTEGER PRIMARY KEY, boot TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    time_ms INTEGER NOT NULL,
    boot INTEGER NOT NULL REFERENCES boots (id),
    uptime_ms INTEGER NOT NULL,
    synchronized INTEGER NOT NULL,
    online INTEGER NOT NULL,
    type TEXT NOT NULL,
    subject TEXT,
    data TEXT NOT NULL
, form INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE time_floor (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    time_ms INTEGER NOT NULL,
    boot TEXT NOT NULL,
    uptime_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE commands (
    n INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    command TEXT NOT NULL,
    seen_ms INTEGER NOT NULL,
    synchronized INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    result TEXT
) STRICT;
INSERT INTO journal VALUES (1, '47f19169', 1795471259123, 5, 0);
INSERT INTO boots VALUES (1, 'boot-1');
INSERT INTO events VALUES (1, 1795471200123, 1, 0, 0, 0, 'gateway.started', NULL, '{"version":"0.1.0"}', 1);
INSERT INTO events VALUES (2, 1795471201123, 1, 1000, 0, 1, 'intercom.panel.offline', 'entrance-1', '{"panel":"entrance-1","intercom":1,"cause":"no answer: \"unplugged\", or sträßchen''s power"}', 1);
INSERT INTO events VALUES (3, 1795471202123, 1, 2000, 1, 0, 'gateway.clock.stepped', NULL, '{"offset_ms":-86400000}', 1);
INSERT INTO events VALUES (4, 1795471203123, 1, 3000, 1, 1, 'intercom.key.swiped', 'entrance-1', '{"panel":"entrance-1","intercom":1,"reader":0,"key":"0000003042CAAC","raw":"3042CAAC","bits":32,"decision":"granted","reason":"key_known","flats":[{"id":1,"flat":1}],"key_id":1,"user_id":6,"reversed_known":false,"revision":57}', 1);
INSERT INTO events VALUES (5, 1795471204123, 1, 4000, 1, 0, 'intercom.door.unlocked', 'entrance-1', '{"panel":"entrance-1","intercom":1,"by":{"kind":"key","id":1},"duration":3.0}', 1);
