//! The endpoint by real HTTP, over loopback, against a real store.

#[path = "../support/asyncapi.rs"]
mod asyncapi;
mod client;
mod commissioning;
mod documented;
mod identify;
mod limits;
mod lists;
mod local;
mod open_door;
#[path = "../support/openapi.rs"]
mod openapi;
mod page;
mod places;
mod revoked;
mod shapes;
mod site;
mod stream;
#[path = "../support/stream.rs"]
mod streamed;
mod tls;
