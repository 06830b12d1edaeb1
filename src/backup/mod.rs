//! What a dead SD card would lose, in one sealed file.

pub mod sealed;
