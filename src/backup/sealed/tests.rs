//! Against streams of another implementation (the crate `age` 0.12.1), and against alterations.

use sha2::{Digest, Sha256};

use super::*;

const PASSPHRASE: &str = "correct horse battery staple";
/// Quick enough for a test that seals often.
const LITTLE_WORK: u8 = 4;

/// What the other implementation made of [`plain`] of a length: header, nonce (hex), SHA-256 of all of it.
const FOREIGN: [(usize, &str, &str, &str); 4] = [
    (
        0,
        "age-encryption.org/v1\n\
         -> scrypt GenVq/qkEYuzNuDiDDdIDA 10\n\
         G/CjLl+USYIuIBYtBaGi4prxSrLZ6e5JseqoT2o0a6U\n\
         --- pzEhUfiEcEq4UsQpCCjUU1pili2nD8FcY8d2/wmSTH8\n",
        "127006a9f92b0c957068a0f5b4d3cf5f",
        "752cb3b609aa3a8e76c8fcb3708323781ff2d3611d47e5bf39f8ac8048a894a5",
    ),
    (
        5,
        "age-encryption.org/v1\n\
         -> scrypt m5WMfcizaHvJJ3Ofd7Ncfg 10\n\
         OvxnwO8Wz3/1Fbpt28HCs+K+Q1U9ID+ZOa/T8KXTDbw\n\
         --- e8/H79BMN7UuIhK4Q9C39pNEJVJY9Ulnj7tli2eNWuQ\n",
        "c4acc7d74736e39ca7e3f526554bf638",
        "5eb002b64b228719325ff2fb6650aefaf869034a8ab55c9265763cb1087e83e9",
    ),
    (
        65536,
        "age-encryption.org/v1\n\
         -> scrypt y1RpHkJbJoDW6K6bbNTj0A 10\n\
         0jQ90bHIXpeinJRDLQ70+q0fC6QZBPAITj8ABp1Hz6I\n\
         --- jrBWpsQ00EDOOhbrGNOEB/gCx4DrimPzMBmDTf2kYrg\n",
        "19de74ada2042c41cef1c3731e161fd3",
        "dc4a3a0cafdf301de00a37c150b885721ad3a1fcd819e561d2a176606f77b94a",
    ),
    (
        131077,
        "age-encryption.org/v1\n\
         -> scrypt WhR0RQIjAM7ORExojSuBvQ 10\n\
         IuyrSFP9XZxeWMSnPuySo9yAaVxkFC2VJcUgBDWgPL8\n\
         --- MO5ORQIdqGqFJKdc3Kgo0BNMZJK5bPK134YeNwW5t+4\n",
        "004e7663edf01294b851c775049e8161",
        "08aa8d406615f867299882d4bde4007363cacb4ef82798c5da2a1b351ffa8c2d",
    ),
];

fn plain(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

fn seal(plain: &[u8], work: u8, random: &Randomness) -> Vec<u8> {
    let mut sealer = Sealer::with(Vec::new(), PASSPHRASE, work, random).unwrap();
    // In pieces that fit no chunk.
    plain.chunks(1000).for_each(|piece| sealer.write_all(piece).unwrap());
    sealer.finish().unwrap()
}

fn open(sealed: &[u8], passphrase: &str) -> Result<Vec<u8>, String> {
    let mut opened = Vec::new();
    let mut opener = Opener::new(sealed, passphrase).map_err(|error| error.to_string())?;
    opener.read_to_end(&mut opened).map_err(|error| error.to_string())?;
    Ok(opened)
}

fn sealed(length: usize) -> Vec<u8> {
    seal(&plain(length), LITTLE_WORK, &Randomness::new().unwrap())
}

#[test]
fn it_is_bit_for_bit_what_another_implementation_makes() {
    for (length, header, nonce, digest) in FOREIGN {
        let read = Header::read(&mut header.as_bytes()).unwrap();
        let (salt, work) = (read.salt, read.work);
        let file_key = read.open(PASSPHRASE).unwrap();
        let nonce = hex::decode(nonce).unwrap().try_into().unwrap();
        let sealed = seal(&plain(length), work, &Randomness { file_key, salt, nonce });
        assert_eq!(hex::encode(Sha256::digest(&sealed)), digest, "{length} bytes");
        assert_eq!(open(&sealed, PASSPHRASE).unwrap(), plain(length));
    }
}

#[test]
fn what_is_sealed_can_be_opened_whatever_its_length() {
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
        let sealed = sealed(length);
        assert_eq!(open(&sealed, PASSPHRASE).unwrap(), plain(length), "{length}");
        let chunks = length.div_ceil(CHUNK).max(1);
        assert!(sealed.len() > length + chunks * TAG);
    }
    assert_ne!(sealed(5), sealed(5), "salt, nonce and key are new each time");
}

#[test]
fn a_wrong_passphrase_says_so() {
    for wrong in ["", "correct horse battery stapl", "correct horse battery staple "] {
        let error = open(&sealed(5), wrong).unwrap_err();
        assert!(error.contains("passphrase is not the one"), "{error}");
    }
}

#[test]
fn no_byte_can_be_altered_and_no_end_cut_off() {
    let (length, header) = (CHUNK + 100, 150 - 1);
    let whole = sealed(length);
    let in_header = (0..header + NONCE + 40).chain((header..whole.len()).step_by(997));
    for at in in_header {
        let mut altered = whole.clone();
        altered[at] ^= 0x01;
        assert!(open(&altered, PASSPHRASE).is_err(), "byte {at}");
    }
    for cut in (0..header + NONCE + 40)
        .chain((header..whole.len()).step_by(997))
        .chain([whole.len() - 1, header + NONCE + CHUNK + TAG])
    {
        assert!(open(&whole[..cut], PASSPHRASE).is_err(), "cut at {cut}");
    }
    let longer = [whole.as_slice(), &[0]].concat();
    assert!(open(&longer, PASSPHRASE).unwrap_err().contains("damaged"));
}

#[test]
fn the_end_of_a_stream_that_fills_its_chunks_cannot_be_cut_off() {
    let whole = sealed(2 * CHUNK);
    assert_eq!(open(&whole, PASSPHRASE).unwrap().len(), 2 * CHUNK);
    let one_less = &whole[..whole.len() - CHUNK - TAG];
    assert!(open(one_less, PASSPHRASE).unwrap_err().contains("copied in part only"));
}

#[test]
fn what_is_no_such_stream_or_a_later_one_is_told_apart() {
    for foreign in [b"".as_slice(), b"x", b"{\"revision\":57}\n", &[0xff; 300], b"age-encryption.org/v1"] {
        let error = open(foreign, PASSPHRASE).unwrap_err();
        assert!(error.contains("is no backup"), "{error}");
    }
    let text = |sealed: &[u8], from: &str, to: &str| {
        let (head, rest) = sealed.split_at(149);
        [String::from_utf8(head.to_vec()).unwrap().replace(from, to).into_bytes(), rest.to_vec()].concat()
    };
    let whole = sealed(5);
    for (from, to, said) in [
        ("org/v1", "org/v2", "newer version"),
        ("-> scrypt", "-> X25519", "newer version"),
        (" 4\n", " 19\n", "work factor of 19"),
        (" 4\n", " 64\n", "work factor of 64"),
        (" 4\n", " 999\n", "damaged"),
        (" 4\n", " 5\n", "passphrase"),
    ] {
        let error = open(&text(&whole, from, to), PASSPHRASE).unwrap_err();
        assert!(error.contains(said), "{to}: {error}");
    }
}
