//! A frame taken to pieces as table 1 of the standard has them: written for these tests alone, so that it shares no mistake
//! with the code that it looks at.

/// The pieces of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub address: u8,
    pub is_reply: bool,
    pub sequence: u8,
    /// Kind and data of the security block.
    pub block: Option<(u8, Vec<u8>)>,
    pub code: u8,
    pub data: Vec<u8>,
    pub mac: Option<[u8; 4]>,
}

const SOM: u8 = 0x53;
const HAS_CRC: u8 = 0x04;
const HAS_BLOCK: u8 = 0x08;
const RESERVED: u8 = 0xF0;

/// Takes bytes from the line to pieces: one mark and one frame, and nothing behind it.
pub fn layout(bytes: &[u8]) -> Layout {
    assert_eq!(bytes[0], 0xFF, "no mark before the frame: {}", hex::encode(bytes));
    pieces(&bytes[1..])
}

/// Takes a frame to pieces.
pub fn pieces(frame: &[u8]) -> Layout {
    let told = hex::encode(frame);
    assert_eq!(frame[0], SOM, "no SOM: {told}");
    assert_eq!(usize::from(frame[2]) | usize::from(frame[3]) << 8, frame.len(), "another length: {told}");
    let control = frame[4];
    assert_eq!(control & RESERVED, 0, "reserved bits of CTRL: {told}");
    assert_ne!(control & HAS_CRC, 0, "a checksum in place of CRC: {told}");
    let (body, check) = frame.split_at(frame.len() - 2);
    assert_eq!(crc(body).to_le_bytes(), check, "a wrong CRC: {told}");
    let mut rest = &body[5..];
    let mut block = None;
    if control & HAS_BLOCK != 0 {
        let (inside, behind) = rest.split_at(usize::from(rest[0]));
        block = Some((inside[1], inside[2..].to_vec()));
        rest = behind;
    }
    let (code, mut data) = (rest[0], &rest[1..]);
    let mut mac = None;
    if matches!(block, Some((0x15..=0x18, _))) {
        let (inside, end) = data.split_at(data.len() - 4);
        (data, mac) = (inside, end.try_into().ok());
    }
    Layout {
        address: frame[1] & 0x7F,
        is_reply: frame[1] & 0x80 != 0,
        sequence: control & 3,
        block,
        code,
        data: data.to_vec(),
        mac,
    }
}

/// CRC-16 with polynomial 1021 and initial value 1D0F, bit by bit.
fn crc(bytes: &[u8]) -> u16 {
    let mut sum: u16 = 0x1D0F;
    for byte in bytes {
        sum ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            let is_carried = sum & 0x8000 != 0;
            sum <<= 1;
            if is_carried {
                sum ^= 0x1021;
            }
        }
    }
    sum
}

/// Makes the CRC of a frame with its mark anew, after something in it was changed.
pub fn with_crc(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - 2;
    let check = crc(&bytes[1..end]).to_le_bytes();
    bytes[end..].copy_from_slice(&check);
    bytes
}
