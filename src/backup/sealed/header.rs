//! The header of a sealed stream: the file's key, wrapped by a key that scrypt derives from the passphrase.
//!
//! ```text
//! age-encryption.org/v1
//! -> scrypt SALT WORK
//! WRAPPED-KEY
//! --- MAC
//! ```
//! All three are base64 without padding; the MAC is under the file's key, over everything up to and including `---`.

use std::io::{BufRead, Read};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use ring::{
    aead::{Aad, Nonce},
    hkdf, hmac,
};
use scrypt::Params;
use zeroize::Zeroizing;

use super::{SealError, aead_key, cut_short};

/// The key that everything in a stream is derived from.
pub(super) type FileKey = Zeroizing<[u8; 16]>;

/// Bytes of the salt.
pub(super) const SALT: usize = 16;
/// Work of the key's derivation, as the logarithm of scrypt's N: 32 MiB, and half a second on a Raspberry Pi. Twice the
/// memory would be more than a command may take beside the daemon.
pub(super) const WORK: u8 = 15;
/// The most work that is accepted: 256 MiB.
pub(super) const MOST_WORK: u8 = 18;

const FORMAT: &str = "age-encryption.org/";
const VERSION: &str = "age-encryption.org/v1";
const STANZA: &str = "-> scrypt ";
const END: &str = "---";
/// What comes before the salt where the passphrase's key is derived.
const LABEL: &[u8] = b"age-encryption.org/v1/scrypt";
/// scrypt's r and p, which the format fixes.
const BLOCK: u32 = 8;
const LANES: u32 = 1;
/// Bytes of a wrapped key: the key and its tag.
const WRAPPED: usize = 32;
/// Longest line, bytes; all that this program writes are shorter.
const LONGEST_LINE: u64 = 128;

/// A header that was read.
pub(super) struct Header {
    pub salt: [u8; SALT],
    pub work: u8,
    wrapped: [u8; WRAPPED],
    mac: [u8; 32],
}

impl Header {
    /// Returns the text of the header that wraps `file_key`.
    pub fn seal(file_key: &FileKey, passphrase: &str, salt: [u8; SALT], work: u8) -> Vec<u8> {
        let mut wrapped = file_key.to_vec();
        let key = aead_key(&passphrase_key(passphrase, &salt, work));
        key.seal_in_place_append_tag(no_nonce(), Aad::empty(), &mut wrapped)
            .expect("a short text can be sealed");
        let text = authenticated(&salt, work, &wrapped);
        let mac = hmac::sign(&mac_key(file_key), text.as_bytes());
        format!("{text} {}\n", BASE64.encode(mac)).into_bytes()
    }

    /// Reads a header, up to the byte behind it.
    ///
    /// # Errors
    /// It is no backup, or one that this program does not know.
    pub fn read(source: &mut impl BufRead) -> Result<Self, SealError> {
        match line(source) {
            Ok(version) if version == VERSION => {}
            Ok(other) if other.starts_with(FORMAT) => return Err(SealError::Unknown(other)),
            Err(SealError::Io(error)) => return Err(error.into()),
            Ok(_) | Err(_) => return Err(SealError::Foreign),
        }
        let stanza = line(source)?;
        let Some(arguments) = stanza.strip_prefix(STANZA) else {
            return Err(SealError::Unknown("no passphrase".to_owned()));
        };
        let (salt, work) = arguments.split_once(' ').ok_or(SealError::Damaged)?;
        let work = work.parse().map_err(|_| SealError::Damaged)?;
        let (salt, wrapped) = (decoded(salt)?, decoded(&line(source)?)?);
        let end = line(source)?;
        let mac = end.strip_prefix(END).and_then(|end| end.strip_prefix(' ')).ok_or(SealError::Damaged)?;
        Ok(Self { salt, work, wrapped, mac: decoded(mac)? })
    }

    /// Returns the file's key. Takes as long, and as much memory, as the header says.
    ///
    /// # Errors
    /// The passphrase is wrong, too much work is asked for, or the header was altered.
    pub fn open(mut self, passphrase: &str) -> Result<FileKey, SealError> {
        if self.work > MOST_WORK {
            return Err(SealError::TooMuchWork(self.work));
        }
        let text = authenticated(&self.salt, self.work, &self.wrapped);
        let key = aead_key(&passphrase_key(passphrase, &self.salt, self.work));
        let opened = key.open_in_place(no_nonce(), Aad::empty(), &mut self.wrapped);
        let opened = Zeroizing::new(opened.map_err(|_| SealError::Passphrase)?.to_vec());
        let file_key = FileKey::new(opened.as_slice().try_into().map_err(|_| SealError::Damaged)?);
        hmac::verify(&mac_key(&file_key), text.as_bytes(), &self.mac).map_err(|_| SealError::Damaged)?;
        Ok(file_key)
    }
}

/// Derives a key of a stream from the file's key.
pub(super) fn derive(file_key: &FileKey, salt: &[u8], label: &str) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    let label = [label.as_bytes()];
    let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(file_key.as_ref());
    let expanded = secret.expand(&label, hkdf::HKDF_SHA256).and_then(|material| material.fill(key.as_mut()));
    expanded.expect("HKDF gives 32 bytes");
    key
}

fn passphrase_key(passphrase: &str, salt: &[u8; SALT], work: u8) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    let params = Params::new(work, BLOCK, LANES).expect("the work is within scrypt's limits");
    let salt = [LABEL, salt].concat();
    scrypt::scrypt(passphrase.as_bytes(), &salt, &params, key.as_mut()).expect("scrypt gives 32 bytes");
    key
}

fn mac_key(file_key: &FileKey) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, derive(file_key, &[], "header").as_ref())
}

/// The wrapping key is used once.
fn no_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// Returns the part of the header that its MAC is over.
fn authenticated(salt: &[u8], work: u8, wrapped: &[u8]) -> String {
    let (salt, wrapped) = (BASE64.encode(salt), BASE64.encode(wrapped));
    format!("{VERSION}\n{STANZA}{salt} {work}\n{wrapped}\n{END}")
}

/// Reads a line of the header, without its end.
fn line(source: &mut impl BufRead) -> Result<String, SealError> {
    let mut line = Vec::new();
    source
        .take(LONGEST_LINE)
        .read_until(b'\n', &mut line)
        .map_err(|error| cut_short(error, SealError::Damaged))?;
    let text = line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
    text.map(str::to_owned).ok_or(SealError::Damaged)
}

fn decoded<const LENGTH: usize>(text: &str) -> Result<[u8; LENGTH], SealError> {
    BASE64.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(SealError::Damaged)
}
