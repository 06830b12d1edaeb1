//! Modbus panels on a line in virtual time: no late, foreign or damaged answer becomes a value, whatever is lost;
//! dead and slow panels do not starve the rest.
//!
//! `VIRTUAL_TIME_SEEDS=70` runs 70 seeds, of about 1,400 exchanges each; `VIRTUAL_TIME_SEED=7` that one alone.

mod half_living;
mod schedule;
#[path = "../virtual_time/seeds.rs"]
mod seeds;
mod soundness;
mod unlocks;
mod world;
mod writes;
