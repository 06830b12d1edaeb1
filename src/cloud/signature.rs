//! Signed messages from the cloud (contract §4, "Signed"): where keys are configured, every payload from below is a
//! compact JWS (RFC 7515) by one of them, of an object that names this gateway.
//!
//! Ed25519 is `ring`'s. The envelope is read here, for little of a JWS library would be left: one algorithm, keys
//! that are configured and never taken from a header, no extension understood.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::Deserialize;

use crate::domain::Name;

/// Bytes of an Ed25519 public key.
pub const KEY_BYTES: usize = 32;

/// Longest JOSE header, bytes of base64: ours needs 20, one with a `kid` some more.
const LONGEST_HEADER: usize = 1024;

/// Decides which payloads from below are the cloud's.
#[derive(Clone, Debug, Default)]
pub struct Signatures(Option<Required>);

#[derive(Clone, Debug)]
struct Required {
    keys: Vec<[u8; KEY_BYTES]>,
    gateway: Name,
}

/// Why a payload is not obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no JWS, or one by nobody that the configuration knows.
    #[error("the message is not signed by a key of mqtt.signing_key_file (compact JWS, alg EdDSA)")]
    Unsigned,
    /// It is signed, but does not name this gateway.
    #[error("the signed object must have this gateway's id as \"gateway\"")]
    WrongGateway,
}

impl Refused {
    /// The contract's error code, for `results` and `sync/state`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::WrongGateway => "wrong_gateway",
        }
    }
}

impl Signatures {
    /// Every payload must be signed by one of `keys` for `gateway`; without keys nothing is obeyed.
    pub fn required(keys: Vec<[u8; KEY_BYTES]>, gateway: Name) -> Self {
        Self(Some(Required { keys, gateway }))
    }

    /// The object that `payload` is or, where signatures are required, holds.
    ///
    /// # Errors
    /// [`Refused`], only where signatures are required.
    ///
    /// ```
    /// use intercom_gateway::{cloud::signature::{Refused, Signatures}, domain::Name};
    /// let plain = br#"{"command":"report"}"#;
    /// assert_eq!(*Signatures::default().open(plain).unwrap(), *plain);
    /// let required = Signatures::required(vec![[7; 32]], Name::new("building-7").unwrap());
    /// assert_eq!(required.open(plain), Err(Refused::Unsigned));
    /// ```
    pub fn open<'a>(&self, payload: &'a [u8]) -> Result<Cow<'a, [u8]>, Refused> {
        let Some(required) = &self.0 else { return Ok(Cow::Borrowed(payload)) };
        let object = required.verify(payload.trim_ascii()).ok_or(Refused::Unsigned)?;
        match serde_json::from_slice::<Addressed<'_>>(&object) {
            Ok(Addressed { gateway: Some(gateway) }) if gateway == required.gateway.as_str() => {
                Ok(Cow::Owned(object))
            }
            _ => Err(Refused::WrongGateway),
        }
    }
}

/// What a payload that was refused seems to hold; good for nothing but naming what is refused.
pub(super) fn claimed(payload: &[u8]) -> Cow<'_, [u8]> {
    let object = Parts::of(payload.trim_ascii()).and_then(|parts| decode(parts.object));
    object.map_or(Cow::Borrowed(payload), Cow::Owned)
}

/// The member that a signed object must have beside its own.
#[derive(Deserialize)]
struct Addressed<'a> {
    #[serde(borrow)]
    gateway: Option<Cow<'a, str>>,
}

/// The protected header; `kid`, `typ` and the like change nothing.
#[derive(Deserialize)]
struct Header {
    alg: String,
    /// Extensions that must be understood (RFC 7515 §4.1.11); none is.
    #[serde(default)]
    crit: Option<serde_json::Value>,
    /// RFC 7797: without `crit` it is an error there.
    #[serde(default)]
    b64: Option<serde_json::Value>,
}

/// `header.object.signature`, base64url each.
struct Parts<'a> {
    header: &'a [u8],
    object: &'a [u8],
    signature: &'a [u8],
    signed: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(payload: &'a [u8]) -> Option<Self> {
        let mut parts = payload.split(|byte| *byte == b'.');
        let (header, object, signature) = (parts.next()?, parts.next()?, parts.next()?);
        let signed = payload.get(..header.len() + 1 + object.len())?;
        parts.next().is_none().then_some(Self { header, object, signature, signed })
    }
}

impl Required {
    fn verify(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let parts = Parts::of(payload).filter(|parts| parts.header.len() <= LONGEST_HEADER)?;
        let header: Header = serde_json::from_slice(&decode(parts.header)?).ok()?;
        if header.alg != "EdDSA" || header.crit.is_some() || header.b64.is_some() {
            return None;
        }
        let signature = decode(parts.signature)?;
        let is_by = |key: &[u8; KEY_BYTES]| {
            UnparsedPublicKey::new(&ED25519, key).verify(parts.signed, &signature).is_ok()
        };
        if self.keys.iter().any(is_by) { decode(parts.object) } else { None }
    }
}

fn decode(base64: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(base64).ok()
}
