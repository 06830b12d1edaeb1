//! The secure channel (OSDP-SC, AES-128): keys, handshake for both ends, MAC chain.
//!
//! ```text
//!  control panel                                    panel
//!  Challenge ── CHLNG, SCS_11 (RND.A) ───────────►  PanelHandshake::answer
//!     verify ◄─ CCRYPT, SCS_12 (RND.B, cryptogram)
//!     Proven ── SCRYPT, SCS_13 (cryptogram) ─────►  accept
//!     finish ◄─ RMAC_I, SCS_14 ───────────────────
//!    Session ═══ SCS_15…18: every frame's MAC is chained to the other side's last one ═══ Session
//! ```
//! Invariants: the key itself never leaves [`Scbk`] but by [`Scbk::expose`]; a failed [`Session::open`] or
//! [`Session::seal`] leaves the chain as it was; the MAC is compared in constant time, before anything is decrypted.
//! A frame that is sent again must be the **same bytes**: it is never sealed twice.

mod handshake;
mod keys;
mod session;

pub use handshake::{Challenge, HandshakeError, PanelHandshake, Proven};
pub use keys::{Scbk, SessionKeys};
pub use session::{OpenError, Session};

/// An AES block, a key, a MAC.
type Block = [u8; 16];
