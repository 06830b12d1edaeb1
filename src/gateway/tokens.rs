//! The file of the API tokens, as the daemon opens it: without any nobody gets in, but the doors open.

use std::{fs, path::Path};

use crate::api::{Tokens, TokensError};

/// File of the API tokens in the state directory.
pub const TOKENS: &str = "tokens.json";

/// Returns the tokens, and what is wrong with them. A damaged file is set aside, and one that cannot be read is left as it
/// is.
pub fn open(state_dir: &Path) -> (Tokens, Option<String>) {
    let path = state_dir.join(TOKENS);
    let opened = match Tokens::open(&path) {
        Err(error @ TokensError::Damaged { .. }) => {
            let aside = path.with_extension("json.damaged");
            fs::rename(&path, &aside).map_err(|_| error.to_string()).and_then(|()| {
                tracing::error!("{error}; it was moved to {}", aside.display());
                Tokens::open(&path).map_err(|error| error.to_string())
            })
        }
        opened => opened.map_err(|error| error.to_string()),
    };
    match opened {
        Ok(tokens) => (tokens, None),
        Err(cause) => {
            let trouble = format!("no API token is known, so the endpoint admits nobody: {cause}");
            tracing::error!("{trouble}");
            (Tokens::unread(&path, cause), Some(trouble))
        }
    }
}
