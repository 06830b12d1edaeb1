//! Command and reply codes (OSDP 2.2 annex A), and their names.

macro_rules! codes {
    ($(#[$doc:meta])* $module:ident { $($name:ident = $code:literal, $text:literal;)* }) => {
        $(#[$doc])*
        pub mod $module {
            $(#[doc = concat!("osdp_", $text, ".")] pub const $name: u8 = $code;)*

            /// The standard's name of a code without its `osdp_`, if this program knows it.
            #[must_use]
            pub fn name(code: u8) -> Option<&'static str> {
                match code {
                    $($name => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// Codes that a control panel sends.
    command {
        POLL = 0x60, "POLL";
        ID = 0x61, "ID";
        CAP = 0x62, "CAP";
        LSTAT = 0x64, "LSTAT";
        ISTAT = 0x65, "ISTAT";
        OSTAT = 0x66, "OSTAT";
        RSTAT = 0x67, "RSTAT";
        OUT = 0x68, "OUT";
        LED = 0x69, "LED";
        BUZ = 0x6a, "BUZ";
        TEXT = 0x6b, "TEXT";
        COMSET = 0x6e, "COMSET";
        KEYSET = 0x75, "KEYSET";
        CHLNG = 0x76, "CHLNG";
        SCRYPT = 0x77, "SCRYPT";
        ACURXSIZE = 0x7b, "ACURXSIZE";
        MFG = 0x80, "MFG";
    }
}

codes! {
    /// Codes that a panel answers with.
    reply {
        ACK = 0x40, "ACK";
        NAK = 0x41, "NAK";
        PDID = 0x45, "PDID";
        PDCAP = 0x46, "PDCAP";
        LSTATR = 0x48, "LSTATR";
        ISTATR = 0x49, "ISTATR";
        OSTATR = 0x4a, "OSTATR";
        RSTATR = 0x4b, "RSTATR";
        RAW = 0x50, "RAW";
        FMT = 0x51, "FMT";
        KEYPAD = 0x53, "KEYPAD";
        COM = 0x54, "COM";
        CCRYPT = 0x76, "CCRYPT";
        RMAC_I = 0x78, "RMAC_I";
        BUSY = 0x79, "BUSY";
        MFGREP = 0x90, "MFGREP";
    }
}
