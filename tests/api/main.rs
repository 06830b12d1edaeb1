//! The endpoint by real HTTP, over loopback, against a real store.

mod client;
mod documented;
mod limits;
mod lists;
mod local;
mod open_door;
mod places;
mod revoked;
mod shapes;
mod site;
mod tls;
