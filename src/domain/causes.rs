//! An error and its causes in one sentence.

use std::error::Error;

/// Returns what an error says, and behind it what its causes say, the nearest first. A cause that has been said stays
/// away: many an error has its cause in its own sentence, and names it as its source as well.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !said.contains(&words) {
            said.push_str(": ");
            said.push_str(&words);
        }
        cause = error.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read key.pem: {source}")]
    struct Unread {
        source: std::io::Error,
    }

    #[test]
    fn a_cause_is_said_once() {
        let unread = || Unread { source: std::io::ErrorKind::NotFound.into() };
        let inner = "cannot read key.pem: entity not found";
        assert_eq!(with_causes(&unread()), inner);
        let outer = anyhow::Error::from(unread()).context("cannot serve HTTPS");
        assert_eq!(with_causes(outer.as_ref()), format!("cannot serve HTTPS: {inner}"));
    }
}
