//! Where random numbers come from: the OS, or a seed in tests.

/// A source of random bytes for keys and challenges.
pub trait Entropy: Send {
    /// Fills `out`; `false`: no randomness is to be had, and `out` must not be used.
    fn fill(&mut self, out: &mut [u8]) -> bool;
}

/// The operating system's random source.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&mut self, out: &mut [u8]) -> bool {
        getrandom::fill(out).is_ok()
    }
}
