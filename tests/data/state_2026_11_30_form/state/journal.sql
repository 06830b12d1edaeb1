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
INSERT INTO journal VALUES (1, '7dd9f2ac', 1795471259123, 5, 0);
INSERT INTO boots VALUES (1, 'boot-1');
INSERT INTO events VALUES (1, 1795471203123, 1, 3000, 1, 1, 'intercom.key.swiped', 'entrance-1', '{"panel":"entrance-1","intercom":1,"reader":0,"key":"0000003042CAAC","raw":"3042CAAC","bits":32,"decision":"granted","reason":"key_known","flats":[{"id":1,"flat":1}],"key_id":1,"user_id":6,"reversed_known":false,"revision":57}', 1);
INSERT INTO events VALUES (2, 1795471204123, 1, 4000, 1, 0, 'intercom.door.unlocked', 'entrance-1', '{"panel":"entrance-1","intercom":1,"by":{"kind":"key","id":1},"duration":3.0}', 1);
INSERT INTO events VALUES (3, 1795471205123, 1, 5000, 1, 1, 'intercom.door.opened', 'entrance-1', '{"panel":"entrance-1","intercom":1,"by":{"kind":"key","id":1}}', 1);
INSERT INTO events VALUES (4, 1795471206123, 1, 6000, 1, 0, 'intercom.door.closed', 'entrance-1', '{"panel":"entrance-1","intercom":1,"by":null}', 1);
INSERT INTO events VALUES (5, 1795471207123, 1, 7000, 1, 1, 'intercom.door.unlock_failed', 'entrance-1', '{"panel":"entrance-1","intercom":1,"by":{"kind":"token","id":"full"},"duration":0.1,"cause":"unconfirmed"}', 1);
INSERT INTO events VALUES (6, 1795471208123, 1, 8000, 1, 0, 'intercom.door.unlocked', 'entrance-1', '{"panel":"entrance-1","intercom":1,"by":{"kind":"exit","id":null},"duration":60.0}', 1);
INSERT INTO events VALUES (7, 1795471209123, 1, 9000, 1, 1, 'intercom.keypad.entered', 'entrance-1', '{"panel":"entrance-1","intercom":1,"reader":1,"digits":"0815"}', 1);
INSERT INTO events VALUES (8, 1795471210123, 1, 10000, 1, 0, 'intercom.keypad.entered', 'entrance-1', '{"panel":"entrance-1","intercom":1,"reader":0,"digits":null}', 1);
INSERT INTO events VALUES (9, 1795471211123, 1, 11000, 1, 1, 'intercom.code.entered', 'entrance-1', '{"panel":"entrance-1","intercom":1,"reader":0,"decision":"denied","reason":"code_expired","code_id":32,"flats":[{"id":12,"flat":8}],"revision":57}', 1);
INSERT INTO events VALUES (10, 1795471212123, 1, 12000, 1, 0, 'intercom.door.unlocked', 'entrance-1', '{"panel":"entrance-1","intercom":1,"by":{"kind":"code","id":31},"duration":3.0}', 1);
INSERT INTO events VALUES (11, 1795471213123, 1, 13000, 1, 1, 'intercom.line.changed', 'entrance-1', '{"panel":"entrance-1","intercom":1,"flat":1,"flat_id":null,"from":"on_hook","to":"short","raw":98,"value":9.8,"unit":"V"}', 1);
INSERT INTO events VALUES (12, 1795471214123, 1, 14000, 1, 0, 'intercom.line.wiring', 'entrance-1', '{"panel":"entrance-1","intercom":1,"lines":[1,2,3],"state":"break","cleared":false}', 1);
INSERT INTO events VALUES (13, 1795471215123, 1, 15000, 1, 1, 'intercom.input.changed', 'entrance-1', '{"panel":"entrance-1","intercom":1,"input":2,"from":"inactive","to":"short"}', 1);
INSERT INTO events VALUES (14, 1795471216123, 1, 16000, 1, 0, 'intercom.panel.tamper', 'entrance-1', '{"panel":"entrance-1","intercom":1,"active":true}', 1);
INSERT INTO events VALUES (15, 1795471217123, 1, 17000, 1, 1, 'intercom.panel.suspect', 'entrance-1', '{"panel":"entrance-1","intercom":1,"cause":"wrong_mac","count":3}', 1);
INSERT INTO events VALUES (16, 1795471218123, 1, 18000, 1, 0, 'gateway.sync.applied', NULL, '{"revision":57,"digest":"0000000000000000000000000000000000000000000000000000000000000000"}', 1);
INSERT INTO events VALUES (17, 1795471219123, 1, 19000, 1, 1, 'gateway.journal.pruned', NULL, '{"pruned_journal":"9f3c2a41","from":1,"to":null,"cause":"the disk was full"}', 1);
INSERT INTO events VALUES (18, 1795471220123, 1, 20000, 1, 0, 'gateway.stopping', NULL, '{}', 1);
INSERT INTO time_floor VALUES (1, 1795471258123, 'boot-1', 58000);
INSERT INTO commands VALUES (1, X'000000000000000000000000000000E1', 'unlock', 1795471259123, 1, 1795471500000, '{"command":"unlock","error":null,"id":"00000000-0000-0000-0000-0000000000e1","status":"done"}');
INSERT INTO commands VALUES (2, X'000000000000000000000000000000E2', 'unlock', 1795471259123, 1, 1795471500000, NULL);
