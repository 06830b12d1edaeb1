//! The checks that close a frame on the line.

use crc::{CRC_16_MODBUS, CRC_16_SPI_FUJITSU, Crc};

/// OSDP's CRC-16: polynomial 1021, initial value 1D0F, unreflected, no final xor.
/// The catalogue of CRCs knows these parameters under the name of another user.
static OSDP: Crc<u16> = Crc::<u16>::new(&CRC_16_SPI_FUJITSU);

/// Modbus RTU's CRC-16: polynomial 8005, initial value FFFF, reflected, no final xor.
static MODBUS: Crc<u16> = Crc::<u16>::new(&CRC_16_MODBUS);

/// The CRC-16 of a Modbus RTU frame, over everything from the address up to the CRC; sent least significant byte
/// first (Modbus over serial line 1.02, 6.2.2).
#[must_use]
pub fn modbus_crc(bytes: &[u8]) -> u16 {
    MODBUS.checksum(bytes)
}

/// The CRC-16 of an OSDP frame, over everything from its SOM up to the CRC; sent least significant byte first.
#[must_use]
pub fn osdp_crc(bytes: &[u8]) -> u16 {
    OSDP.checksum(bytes)
}

/// The one-byte checksum of an OSDP frame: the two's complement of the sum of everything before it.
#[must_use]
pub fn osdp_checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_of_a_captured_id_command() {
        assert_eq!(osdp_crc(&[0x53, 0x00, 0x09, 0x00, 0x04, 0x61, 0x00]), 0x66c0);
        assert_eq!(OSDP.algorithm.check, osdp_crc(b"123456789"));
    }

    #[test]
    fn crc_of_the_modbus_specifications_sample() {
        assert_eq!(modbus_crc(&[0x02, 0x07]).to_le_bytes(), [0x41, 0x12]);
        assert_eq!(MODBUS.algorithm.check, modbus_crc(b"123456789"));
    }

    #[test]
    fn a_frame_and_its_checksum_add_up_to_zero() {
        let frame = [0x53_u8, 0x00, 0x07, 0x00, 0x00, 0x60];
        let sum = frame.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        assert_eq!(sum.wrapping_add(osdp_checksum(&frame)), 0);
        assert_eq!(osdp_checksum(&frame), 0x46);
    }
}
