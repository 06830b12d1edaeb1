//! The bus without its port, in virtual time: `bus::core::Core` with simulated panels on a simulated half-duplex
//! line. Time jumps to whatever comes next, so an hour of a line takes a second of a core.
//!
//! Randomness comes from seeds. A failing seed is printed; `VIRTUAL_TIME_SEED=n` replays it alone with every frame
//! printed, `VIRTUAL_TIME_SEEDS=n` sets how many are tried,
//! `VIRTUAL_TIME_TIMES=n` multiplies what each test tries of its own accord.

mod attack;
mod attacker;
mod building;
mod certifying;
mod checks;
mod doors;
mod fairness;
mod faults;
mod forgery;
mod half_living;
mod identify;
mod invariants;
mod noise;
mod pairing;
mod rates;
mod recalling;
mod rekey;
mod reload;
mod returns;
mod scanning;
mod scenario;
mod seeds;
mod stopping;
mod world;
