//! Surveys of a line: each kind of line is told for what it is, whatever the seed.

mod diagnoses;
mod modbus;
mod world;
