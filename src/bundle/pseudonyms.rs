//! Names that say nothing, but are the same for the same.

use ring::hmac;
use zeroize::Zeroizing;

/// Bytes of a pseudonym: two in a building of 100,000 keys are the same once in ten bundles.
const BYTES: usize = 5;

/// Gives pseudonyms, under a key that nobody else has and that is gone with this.
pub struct Pseudonyms(hmac::Key);

impl Pseudonyms {
    /// Makes a key.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *key)?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &*key)))
    }

    /// Returns what stands for a text.
    pub fn of(&self, text: &str) -> String {
        let tag = hmac::sign(&self.0, text.to_lowercase().as_bytes());
        format!("<{}>", hex::encode(tag.as_ref().get(..BYTES).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_has_the_same_pseudonym_in_one_bundle_and_another_in_the_next() {
        let (one, next) = (Pseudonyms::new().unwrap(), Pseudonyms::new().unwrap());
        assert_eq!(one.of("3042CAAC"), one.of("3042caac"));
        assert_ne!(one.of("3042CAAC"), one.of("3042CAAD"));
        assert_ne!(one.of("3042CAAC"), next.of("3042CAAC"));
        assert_eq!(one.of("").len(), 2 + 2 * BYTES);
    }
}
