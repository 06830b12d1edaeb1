//! The `intercom-gateway` binary.

fn main() {}
