//! From what a reader sends to a key code (contract §5, "Key strings").

use crate::domain::KeyCode;

/// Format byte of an OSDP RAW reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialFormat {
    /// 0: unspecified, or 1: Wiegand; parity is recognised by the length.
    Raw,
    /// 2: the card's UID as it is, or anything else that carries no parity.
    Uid,
    /// Characters (the deprecated FMT reply): reported raw, never a key.
    Text,
}

impl CredentialFormat {
    /// From the format byte of RAW: 0 and 1 may be Wiegand, all others are whole bytes.
    pub fn from_osdp(format: u8) -> Self {
        if format <= 1 { Self::Raw } else { Self::Uid }
    }
}

/// Byte order of what a reader sends (contract §2, `key_order`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyOrder {
    /// Most significant byte first.
    #[default]
    AsRead,
    /// Least significant byte first; concerns credentials of whole bytes only.
    Reversed,
}

/// A readable credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential {
    /// In the panel's configured order.
    pub key: KeyCode,
    /// The same bytes in the other order; `None` where the payload is no whole number of bytes.
    pub reversed: Option<KeyCode>,
}

/// Reads `bits` bits of `data` (left-justified, most significant first, as OSDP sends them).
///
/// With 26, 34, 37 or 58 bits in [`CredentialFormat::Raw`] it is Wiegand: an even parity bit before and an
/// odd one after the payload, each over its half, the middle bit of 37 in both. Lengths of 1 to 7 whole bytes
/// are the code itself. `None`: unreadable (wrong parity, any other length, or more or less data than the bits need): to
/// be reported raw, never cut.
pub fn read_credential(
    format: CredentialFormat,
    bits: u16,
    data: &[u8],
    order: KeyOrder,
) -> Option<Credential> {
    let bits = usize::from(bits);
    if bits == 0 || data.len() != bits.div_ceil(8) {
        return None;
    }
    match (format, bits) {
        (CredentialFormat::Text, _) => None,
        (CredentialFormat::Raw, 26 | 34 | 37 | 58) => read_wiegand(bits, data, order),
        _ if bits.is_multiple_of(8) && bits <= KeyCode::BYTES * 8 => {
            whole_bytes(data.get(..bits / 8)?, order)
        }
        _ => None,
    }
}

fn read_wiegand(bits: usize, data: &[u8], order: KeyOrder) -> Option<Credential> {
    let word = data.iter().take(8).fold(0_u64, |word, &byte| word << 8 | u64::from(byte));
    let held = data.len().min(8) * 8;
    let word = word >> (held - bits);
    let payload_bits = bits - 2;
    let payload = word >> 1 & ((1 << payload_bits) - 1);
    // 37 bits have 35 of payload: both halves take 18, so the middle bit is in both.
    let half = payload_bits.div_ceil(2);
    let upper = payload >> (payload_bits - half);
    let lower = payload & ((1 << half) - 1);
    let even = (word >> (bits - 1) & 1) as u32 + upper.count_ones();
    let odd = (word & 1) as u32 + lower.count_ones();
    if !even.is_multiple_of(2) || odd.is_multiple_of(2) {
        return None;
    }
    if payload_bits.is_multiple_of(8) {
        let bytes = payload.to_be_bytes();
        whole_bytes(bytes.get(8 - payload_bits / 8..)?, order)
    } else {
        Some(Credential { key: KeyCode::from_u64(payload)?, reversed: None })
    }
}

/// Leading zero bytes stay in place: stripped before reversing, they would change the code.
fn whole_bytes(bytes: &[u8], order: KeyOrder) -> Option<Credential> {
    let as_read = KeyCode::from_bytes(bytes)?;
    let turned: Vec<u8> = bytes.iter().rev().copied().collect();
    let turned = KeyCode::from_bytes(&turned)?;
    Some(match order {
        KeyOrder::AsRead => Credential { key: as_read, reversed: Some(turned) },
        KeyOrder::Reversed => Credential { key: turned, reversed: Some(as_read) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Payload with its two parity bits, left-justified: the way a reader would send it.
    pub(super) fn wiegand(payload: u64, payload_bits: usize) -> (u16, Vec<u8>) {
        let half = payload_bits.div_ceil(2);
        let even = u64::from((payload >> (payload_bits - half)).count_ones() % 2 == 1);
        let odd = u64::from((payload & ((1 << half) - 1)).count_ones().is_multiple_of(2));
        let bits = payload_bits + 2;
        let word = u128::from(even) << (bits - 1) | u128::from(payload) << 1 | u128::from(odd);
        let bytes = bits.div_ceil(8);
        let word = word << (bytes * 8 - bits);
        (bits as u16, word.to_be_bytes()[16 - bytes..].to_vec())
    }

    fn key(bits: u16, data: &[u8], format: CredentialFormat, order: KeyOrder) -> Option<String> {
        read_credential(format, bits, data, order).map(|credential| credential.key.to_string())
    }

    #[test]
    fn wiegand_lengths_lose_their_parity_bits() {
        for (payload, payload_bits, expected) in [
            (0x42CAAC, 24, "0000000042CAAC"),
            (0x3042_CAAC, 32, "0000003042CAAC"),
            (0x7_1234_5678, 35, "00000712345678"),
            (0x04_A2B3_C4D5_E6F7, 56, "04A2B3C4D5E6F7"),
        ] {
            let (bits, data) = wiegand(payload, payload_bits);
            assert_eq!(
                key(bits, &data, CredentialFormat::Raw, KeyOrder::AsRead).as_deref(),
                Some(expected),
                "{bits} bits"
            );
        }
    }

    #[test]
    fn formats_0_and_1_may_be_wiegand_and_others_are_not() {
        for (format, expected) in
            [(0, Some("0000000042CAAC")), (1, Some("0000000042CAAC")), (2, None), (255, None)]
        {
            let (bits, data) = wiegand(0x42CAAC, 24);
            let read = key(bits, &data, CredentialFormat::from_osdp(format), KeyOrder::AsRead);
            assert_eq!(read.as_deref(), expected, "format {format}");
        }
    }

    #[test]
    fn each_parity_bit_of_wiegand_is_that_of_its_own_half() {
        for payload_bits in [24, 32, 35, 56] {
            for bit in 0..payload_bits {
                let (bits, data) = wiegand(1 << bit, payload_bits);
                let read = read_credential(CredentialFormat::Raw, bits, &data, KeyOrder::AsRead);
                assert_eq!(read.map(|read| read.key), KeyCode::from_u64(1 << bit), "{bits} bits, bit {bit}");
            }
        }
    }

    #[test]
    fn wiegand_of_whole_bytes_is_reversed_without_what_goes_before_it() {
        for (payload, payload_bits, expected) in
            [(0x42CAAC, 24, "00000000ACCA42"), (0x3042_CAAC, 32, "000000ACCA4230")]
        {
            let (bits, data) = wiegand(payload, payload_bits);
            let read = read_credential(CredentialFormat::Raw, bits, &data, KeyOrder::Reversed).unwrap();
            assert_eq!(read.key.to_string(), expected);
            assert_eq!(read.reversed, KeyCode::from_u64(payload));
        }
        let (bits, data) = wiegand(0x7_1234_5678, 35);
        let read = read_credential(CredentialFormat::Raw, bits, &data, KeyOrder::Reversed).unwrap();
        assert_eq!((read.key, read.reversed), (KeyCode::from_u64(0x7_1234_5678).unwrap(), None));
    }

    #[test]
    fn every_single_flipped_bit_of_a_wiegand_code_is_unreadable() {
        for (payload, payload_bits) in
            [(0x42CAAC, 24), (0x3042_CAAC, 32), (0x7_1234_5678, 35), (0x1234_5678, 56)]
        {
            let (bits, data) = wiegand(payload, payload_bits);
            for bit in 0..usize::from(bits) {
                let mut broken = data.clone();
                broken[bit / 8] ^= 0x80 >> (bit % 8);
                assert_eq!(
                    read_credential(CredentialFormat::Raw, bits, &broken, KeyOrder::AsRead),
                    None,
                    "{bits} bits, bit {bit}"
                );
            }
        }
    }

    #[test]
    fn whole_bytes_are_the_code_itself_in_either_order() {
        let tag = [0x30, 0x42, 0xCA, 0xAC];
        assert_eq!(key(32, &tag, CredentialFormat::Raw, KeyOrder::AsRead).as_deref(), Some("0000003042CAAC"));
        assert_eq!(
            key(32, &tag, CredentialFormat::Raw, KeyOrder::Reversed).as_deref(),
            Some("000000ACCA4230")
        );
        let leading_zero = [0x00, 0x42, 0xCA, 0xAC];
        assert_eq!(
            key(32, &leading_zero, CredentialFormat::Uid, KeyOrder::Reversed).as_deref(),
            Some("000000ACCA4200")
        );
        assert_eq!(
            key(56, &[4, 1, 2, 3, 4, 5, 6], CredentialFormat::Uid, KeyOrder::AsRead).as_deref(),
            Some("04010203040506")
        );
    }

    #[test]
    fn other_lengths_are_unreadable_never_cut() {
        for data in [&[1, 2, 3][..], &[1, 2, 3, 4, 5]] {
            assert_eq!(read_credential(CredentialFormat::Raw, 32, data, KeyOrder::AsRead), None);
        }
        for (bits, bytes) in [(0, 0), (1, 1), (25, 4), (35, 5), (64, 8), (80, 10), (256, 32), (32, 3)] {
            let data = vec![0xA5; bytes];
            for format in [CredentialFormat::Raw, CredentialFormat::Uid] {
                assert_eq!(read_credential(format, bits, &data, KeyOrder::AsRead), None, "{bits} bits");
            }
        }
        let (bits, data) = wiegand(0x3042_CAAC, 32);
        assert_eq!(read_credential(CredentialFormat::Uid, bits, &data, KeyOrder::AsRead), None);
        assert_eq!(read_credential(CredentialFormat::Text, 32, b"1234", KeyOrder::AsRead), None);
    }
}
