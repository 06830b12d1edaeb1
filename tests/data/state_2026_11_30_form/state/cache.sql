PRAGMA user_version = 4;
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER,
    digest TEXT NOT NULL,
    flats INTEGER NOT NULL,
    keys INTEGER NOT NULL,
    users INTEGER NOT NULL,
    applied_ms INTEGER
) STRICT;
CREATE TABLE flats (
    intercom INTEGER NOT NULL,
    id INTEGER NOT NULL,
    flat INTEGER NOT NULL,
    hash BLOB NOT NULL,
    key_count INTEGER NOT NULL,
    users_count INTEGER NOT NULL,
    analog_line INTEGER NOT NULL,
    own_thresholds INTEGER NOT NULL,
    answer_resistance INTEGER,
    quiescent_resistance INTEGER,
    PRIMARY KEY (intercom, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX flats_by_number ON flats (intercom, flat);
CREATE TABLE bodies (
    intercom INTEGER NOT NULL,
    id INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (intercom, id)
) STRICT;
CREATE TABLE keys (
    intercom INTEGER NOT NULL,
    flat_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    code INTEGER NOT NULL,
    key_id INTEGER NOT NULL,
    user_id INTEGER,
    expired_at TEXT,
    PRIMARY KEY (intercom, flat_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_by_code ON keys (code);
CREATE TABLE lines (
    intercom INTEGER NOT NULL,
    flat INTEGER NOT NULL,
    state TEXT NOT NULL,
    told TEXT NOT NULL,
    raw INTEGER,
    since_ms INTEGER NOT NULL,
    measured_ms INTEGER,
    PRIMARY KEY (intercom, flat)
) STRICT, WITHOUT ROWID;
CREATE TABLE codes (
    intercom INTEGER NOT NULL,
    flat_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    code INTEGER NOT NULL,
    code_id INTEGER NOT NULL,
    user_id INTEGER,
    expired_at TEXT,
    user_expired_at TEXT,
    PRIMARY KEY (intercom, flat_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX codes_by_code ON codes (intercom, code);
CREATE INDEX codes_by_id ON codes (intercom, code_id);
CREATE TABLE permissions (
    intercom INTEGER NOT NULL,
    flat_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    by_key INTEGER NOT NULL,
    by_code INTEGER NOT NULL,
    PRIMARY KEY (intercom, flat_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE keypads (
    intercom INTEGER PRIMARY KEY,
    until_ms INTEGER
) STRICT;
CREATE TABLE rates (
    bus TEXT PRIMARY KEY,
    baud INTEGER NOT NULL,
    other INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES (1, 57, 'c3b67e3fe44664af5f1428bc6f0563692e59db4648df9d519c3b107ba81afaa1', 2, 4, 2, 1795471259123);
INSERT INTO flats VALUES (1, 1, 1, X'F175A7EDB378D9AFDDDFD9DA9A402CFCE3FB3C08C4E70116F43129EFA437D815', 3, 2, 1, 1, NULL, NULL);
INSERT INTO flats VALUES (1, 12, 8, X'3C6903DBA37312802C028847A784AA50966AF3DBAA97071A7A3DCE7DA35CEF7F', 1, 0, 1, 1, 700, 900);
INSERT INTO bodies VALUES (1, 1, '{"id":1,"flat":1,"key_count":3,"users_count":2,"keys":[{"id":1,"key":"0000003042CAAC","user":{"id":6,"name":"test","login":"test@mail.com","created_at":"2022-11-11 14:45:58","updated_at":"2022-11-11 14:45:58","expired_at":"2122-11-11 14:45:57","is_licence_limit_reached":false,"ptz_priority":1,"access_token_id":null},"created_at":"2022-11-11 14:46:16","updated_at":"2022-11-14 15:56:40"},{"id":2,"key":"000000A3B48D3C","user":{"id":6,"name":"test","login":"test@mail.com","created_at":"2022-11-11 14:45:58","updated_at":"2022-11-11 14:45:58","expired_at":"2122-11-11 14:45:57","is_licence_limit_reached":false,"ptz_priority":1,"access_token_id":null},"created_at":"2022-11-11 14:46:16","updated_at":"2022-11-14 15:56:40"},{"id":4,"key":"000000417EE9AA","user":null,"created_at":"2022-11-11 14:46:16","updated_at":"2022-11-14 15:56:40"}],"users":[{"id":5,"name":"user","login":"user@mail.com","created_at":"2022-11-11 14:45:57","updated_at":"2022-11-11 14:45:57","expired_at":"2122-11-11 14:45:57","is_licence_limit_reached":false,"ptz_priority":1,"access_token_id":null},{"id":6,"name":"test","login":"test@mail.com","created_at":"2022-11-11 14:45:58","updated_at":"2022-11-11 14:45:58","expired_at":"2122-11-11 14:45:57","is_licence_limit_reached":false,"ptz_priority":1,"access_token_id":null}],"properties":{"is_analog_line_enable":true,"is_sip_line_enable":true,"is_can_manage_resistance":true}}');
INSERT INTO bodies VALUES (1, 12, '{"id":12,"flat":8,"key_count":1,"users_count":0,"keys":[{"id":102,"key":"0000000BADCAFE","user":null,"created_at":"2022-11-11 14:46:16","updated_at":"2022-11-14 15:56:40"}],"users":[],"properties":{"is_analog_line_enable":true,"is_sip_line_enable":true,"is_can_manage_resistance":true}}');
INSERT INTO keys VALUES (1, 1, 0, 809683628, 1, 6, '2122-11-11 14:45:57');
INSERT INTO keys VALUES (1, 1, 1, 2746518844, 2, 6, '2122-11-11 14:45:57');
INSERT INTO keys VALUES (1, 1, 2, 1098836394, 4, NULL, NULL);
INSERT INTO keys VALUES (1, 12, 0, 195939070, 102, NULL, NULL);
INSERT INTO lines VALUES (1, 1, 'short', 'on_hook', 98, 1795471201123, 1795471205123);
INSERT INTO lines VALUES (1, 8, 'unknown', 'on_hook', NULL, 1795471201123, NULL);
INSERT INTO codes VALUES (1, 12, 0, 10480, 31, 6, NULL, NULL);
INSERT INTO codes VALUES (1, 12, 1, 193552, 32, NULL, '2029-12-31 12:45:00', NULL);
INSERT INTO permissions VALUES (1, 12, 6, 0, 0, 1);
INSERT INTO keypads VALUES (1, NULL);
