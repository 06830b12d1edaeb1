//! The running daemon: the binary itself, beside panels, on lines of its own.

mod asyncapi;
mod away;
mod broker_rules;
#[allow(dead_code, reason = "the example uses the rest")]
#[path = "../../examples/cloud/building.rs"]
mod building;
mod bundle;
mod codes;
mod commands;
mod commissioning;
mod credentials;
mod delivery;
mod directory;
mod doctor;
mod ending;
mod golden;
mod health;
mod home_assistant;
mod identify;
mod journal;
mod journal_new;
mod key_files;
mod libosdp_panels;
mod modbus_panels;
mod monitor;
#[allow(dead_code, reason = "each test file uses its own part")]
#[path = "../support/pki.rs"]
mod pki;
mod ports;
mod rates;
mod reload;
mod replayed;
mod revoked_token;
mod rivals;
mod rogue;
mod roll_back;
mod said;
mod sick;
mod sick_files;
mod signed;
mod stalled;
mod storage;
mod stream;
#[path = "../support/stream.rs"]
mod streamed;
#[path = "../support/mod.rs"]
mod support;
mod sync;
mod systemd;
mod traces;
