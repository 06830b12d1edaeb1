//! The cloud's signatures (contract §4, "Signed"): keys from seeds, and compact JWS by them.
#![allow(dead_code, reason = "each user takes its own part")]

use base64::{Engine, engine::general_purpose};
use ring::signature::{Ed25519KeyPair, KeyPair};

/// The public key of `seed`, as `openssl pkey -pubout` writes it.
pub fn pem(seed: u8) -> String {
    let mut der = hex::decode("302a300506032b6570032100").expect("hex");
    der.extend(pair(seed).public_key().as_ref());
    let text = general_purpose::STANDARD.encode(der);
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}

/// `object` as a JWS by the key of `seed`.
pub fn sign(object: &str, seed: u8) -> String {
    let encode = |bytes: &[u8]| general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!("{}.{}", encode(br#"{"alg":"EdDSA","kid":"1"}"#), encode(object.as_bytes()));
    format!("{signed}.{}", encode(pair(seed).sign(signed.as_bytes()).as_ref()))
}

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("32 bytes")
}
