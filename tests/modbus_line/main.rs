//! Modbus panels on a line in virtual time: no late, foreign or damaged answer becomes a value, whatever is lost;
//! dead and slow panels do not starve the rest.

mod schedule;
mod soundness;
mod world;
mod writes;
