//! Signed messages from the cloud (contract §4, "Signed"): where keys are configured, every payload from below is a
//! compact JWS (RFC 7515) by one of them, of an object that names this gateway.
//!
//! Ed25519 is `ring`'s. The envelope is read here, for little of a JWS library would be left: one algorithm, keys
//! that are configured and never taken from a header, no extension understood.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::Deserialize;

use crate::domain::{Name, json};

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
        match read_object::<Addressed<'_>>(&object) {
            Some(Addressed { gateway: Some(gateway) }) if gateway == required.gateway.as_str() => {
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
        let header = decode(parts.header)?;
        let header: Header = read_object(&header)?;
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

/// As serde reads it, but for an array, which would do as well.
fn read_object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    let is_object = json.trim_ascii_start().first() == Some(&b'{');
    is_object.then(|| json::from_slice(json).ok())?
}

fn decode(base64: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(base64).ok()
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    fn pair(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
    }

    fn public(seed: u8) -> [u8; KEY_BYTES] {
        pair(seed).public_key().as_ref().try_into().unwrap()
    }

    fn encode(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn sign(header: &str, object: &str, seed: u8) -> String {
        let signed = format!("{}.{}", encode(header), encode(object));
        let signature = pair(seed).sign(signed.as_bytes());
        format!("{signed}.{}", encode(signature))
    }

    fn gate() -> Signatures {
        Signatures::required(vec![public(1), public(2)], Name::new("building-7").unwrap())
    }

    const HEADER: &str = r#"{"alg":"EdDSA"}"#;
    const OBJECT: &str = r#"{"command":"report","gateway":"building-7"}"#;

    #[test]
    fn each_of_several_keys_opens_whatever_else_the_header_says() {
        for header in [HEADER, r#"{"typ":"JWT","kid":"2026","alg":"EdDSA"}"#] {
            for seed in [1, 2] {
                let message = format!("{}\n", sign(header, OBJECT, seed));
                assert_eq!(*gate().open(message.as_bytes()).unwrap(), *OBJECT.as_bytes());
            }
        }
        assert_eq!(gate().open(sign(HEADER, OBJECT, 3).as_bytes()), Err(Refused::Unsigned));
        let none = Signatures::required(Vec::new(), Name::new("building-7").unwrap());
        assert_eq!(none.open(sign(HEADER, OBJECT, 1).as_bytes()), Err(Refused::Unsigned));
    }

    /// RFC 8037, appendix A.4: somebody else's signature.
    #[test]
    fn the_example_of_the_rfc_is_verified() {
        let key = URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        let required =
            Required { keys: vec![key.try_into().unwrap()], gateway: Name::new("building-7").unwrap() };
        let jws = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
                   hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        assert_eq!(required.verify(jws.as_bytes()).unwrap(), b"Example of Ed25519 signing");
    }

    #[test]
    fn no_other_algorithm_opens_and_no_key_that_the_message_brings() {
        let signature_of = |message: &str| message.rsplit_once('.').unwrap().1.to_owned();
        let good = sign(HEADER, OBJECT, 1);
        let mut refused: Vec<String> = [
            r#"{"alg":"none"}"#,
            r#"{"alg":"HS256"}"#,
            r#"{"alg":"ES256"}"#,
            r#"{"alg":"eddsa"}"#,
            r#"{"alg":["EdDSA"]}"#,
            r#"{"alg":"none","alg":"EdDSA"}"#,
            r#"{"alg":"EdDSA","crit":["exp"],"exp":1}"#,
            r#"{"alg":"EdDSA","crit":["b64"],"b64":false}"#,
            r#"{"alg":"EdDSA","b64":false}"#,
            "{}",
            r#"["EdDSA"]"#,
            "x",
        ]
        .map(|header| sign(header, OBJECT, 1))
        .into();
        // The public key as the secret of a MAC: the classical confusion, with what would be a MAC's length.
        refused.push(format!("{}.{}.{}", encode(r#"{"alg":"HS256"}"#), encode(OBJECT), encode([7; 32])));
        let key = encode(public(3));
        let embedded = format!(r#"{{"alg":"EdDSA","jwk":{{"kty":"OKP","crv":"Ed25519","x":"{key}"}}}}"#);
        refused.push(sign(&embedded, OBJECT, 3));
        refused.push(format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(OBJECT)));
        refused.push(format!("{}.{}.", encode(HEADER), encode(OBJECT)));
        let other = r#"{"command":"unlock","gateway":"building-7"}"#;
        refused.push(format!("{}.{}.{}", encode(HEADER), encode(other), signature_of(&good)));
        refused.push(format!("{good}.{}", encode("x")));
        refused.push(format!("{good}="));
        refused.push(good.replace('.', ".."));
        refused.push(format!(r#"{{"payload":"{}","signatures":[]}}"#, encode(OBJECT)));
        refused.extend(["", ".", "..", "...", OBJECT].map(String::from));
        for message in refused {
            assert_eq!(gate().open(message.as_bytes()), Err(Refused::Unsigned), "{message}");
        }
    }

    #[test]
    fn every_bit_of_a_message_counts() {
        let good = sign(HEADER, OBJECT, 1).into_bytes();
        for position in 0..good.len() {
            for bit in 0..8 {
                let mut message = good.clone();
                message[position] ^= 1 << bit;
                assert_eq!(gate().open(&message), Err(Refused::Unsigned), "bit {bit} of byte {position}");
            }
        }
    }

    #[test]
    fn a_message_for_another_gateway_or_for_none_is_not_ours() {
        for object in [
            r#"{"command":"report","gateway":"building-8"}"#,
            r#"{"command":"report"}"#,
            r#"{"gateway":null}"#,
            r#"{"gateway":"building-8","gateway":"building-7"}"#,
            r#"["building-7"]"#,
            "building-7",
            "",
        ] {
            let message = sign(HEADER, object, 1);
            assert_eq!(gate().open(message.as_bytes()), Err(Refused::WrongGateway), "{object}");
            assert_eq!(*claimed(message.as_bytes()), *object.as_bytes());
        }
        assert_eq!(*claimed(b"{}"), *b"{}");
    }
}
