//! What OUT, LED, BUZ and TEXT ask a panel to do: their records on the wire.

use super::DecodeError;

/// A closed set of byte values, with both directions made from one list.
macro_rules! byte_values {
    ($(#[$doc:meta])* $type:ident { $($(#[$note:meta])* $name:ident = $value:literal, $words:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type {
            $($(#[$note])* $name,)*
        }

        impl $type {
            /// Every value, in the order of the standard.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As it is on the wire.
            #[must_use]
            pub const fn byte(self) -> u8 {
                match self {
                    $(Self::$name => $value,)*
                }
            }

            /// From the wire; `None` for what OSDP 2.2 does not define.
            #[must_use]
            pub const fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($value => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// In words.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self {
                    $(Self::$name => $words,)*
                }
            }
        }
    };
}

byte_values! {
    /// What happens to an output (OSDP 2.2, OUT control codes).
    OutputAction {
        /// Nothing.
        Nop = 0, "unchanged";
        /// Off for good, at once; a running timer ends.
        PermanentOff = 1, "off";
        /// On for good, at once; a running timer ends.
        PermanentOn = 2, "on";
        /// Off for good, once the running timer is over.
        PermanentOffAfterTimer = 3, "off after the timer";
        /// On for good, once the running timer is over.
        PermanentOnAfterTimer = 4, "on after the timer";
        /// On for the time given, then as before.
        TemporaryOn = 5, "temporarily on";
        /// Off for the time given, then as before.
        TemporaryOff = 6, "temporarily off";
    }
}

byte_values! {
    /// What happens to the temporary state of an LED.
    TemporaryLed {
        /// Nothing.
        Nop = 0, "unchanged";
        /// Ends; the permanent state shows.
        Cancel = 1, "cancelled";
        /// Begins at once, for the timer's time.
        Set = 2, "set";
    }
}

byte_values! {
    /// What happens to the permanent state of an LED.
    PermanentLed {
        /// Nothing.
        Nop = 0, "unchanged";
        /// Set to what follows.
        Set = 1, "set";
    }
}

byte_values! {
    /// The colour of an LED.
    Colour {
        /// Dark.
        Off = 0, "off";
        /// Red.
        Red = 1, "red";
        /// Green.
        Green = 2, "green";
        /// Amber.
        Amber = 3, "amber";
        /// Blue.
        Blue = 4, "blue";
        /// Magenta.
        Magenta = 5, "magenta";
        /// Cyan.
        Cyan = 6, "cyan";
        /// White.
        White = 7, "white";
    }
}

byte_values! {
    /// The tone of a buzzer.
    Tone {
        /// No tone; older editions.
        None = 0, "none";
        /// Silence.
        Off = 1, "off";
        /// The panel's own tone.
        Default = 2, "default";
    }
}

byte_values! {
    /// How a text is shown.
    TextMode {
        /// Until replaced, cut at the end of the line.
        Permanent = 1, "permanent";
        /// Until replaced, wrapped.
        PermanentWrapped = 2, "permanent, wrapped";
        /// For the time given, cut at the end of the line.
        Temporary = 3, "temporary";
        /// For the time given, wrapped.
        TemporaryWrapped = 4, "temporary, wrapped";
    }
}

/// One record of OUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputControl {
    /// Number of the output, from 0.
    pub output: u8,
    /// What happens to it.
    pub action: OutputAction,
    /// For [`OutputAction::TemporaryOn`] and [`OutputAction::TemporaryOff`]: how long, in units of 100 ms; 0 is for ever.
    pub timer: u16,
}

/// Blinking: `on` and `off` times in units of 100 ms, and the colour in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blink {
    /// Time in `on_colour`, in 100 ms.
    pub on: u8,
    /// Time in `off_colour`, in 100 ms; 0 shows `on_colour` steadily.
    pub off: u8,
    /// Colour of the first phase.
    pub on_colour: Colour,
    /// Colour of the second phase.
    pub off_colour: Colour,
}

impl Blink {
    /// One colour without blinking. The on time is not 0, which several panels take for "never on".
    #[must_use]
    pub const fn steady(colour: Colour) -> Self {
        Self { on: 1, off: 0, on_colour: colour, off_colour: colour }
    }

    const fn bytes(self) -> [u8; 4] {
        [self.on, self.off, self.on_colour.byte(), self.off_colour.byte()]
    }
}

/// One record of LED.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedControl {
    /// Number of the reader, from 0.
    pub reader: u8,
    /// Number of the LED on that reader, from 0.
    pub led: u8,
    /// What happens to the temporary state.
    pub temporary: TemporaryLed,
    /// The temporary state.
    pub temporary_blink: Blink,
    /// How long the temporary state lasts, in units of 100 ms.
    pub timer: u16,
    /// What happens to the permanent state.
    pub permanent: PermanentLed,
    /// The permanent state.
    pub permanent_blink: Blink,
}

/// The data of BUZ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuzzerControl {
    /// Number of the reader, from 0.
    pub reader: u8,
    /// Tone or silence.
    pub tone: Tone,
    /// Sounding time, in 100 ms.
    pub on: u8,
    /// Silent time, in 100 ms.
    pub off: u8,
    /// How many times; 0 until told otherwise.
    pub count: u8,
}

/// The data of TEXT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextControl {
    /// Number of the reader, from 0.
    pub reader: u8,
    /// How it is shown.
    pub mode: TextMode,
    /// How long, in seconds, in a temporary mode.
    pub seconds: u8,
    /// Row of the first character, from 1.
    pub row: u8,
    /// Column of the first character, from 1.
    pub column: u8,
    /// What is shown.
    pub text: TextLine,
}

/// At most 255 printable ASCII characters: what TEXT can carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextLine(String);

impl TextLine {
    /// `None` where the text is too long or has other characters than printable ASCII.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let printable = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        (printable && text.len() <= usize::from(u8::MAX)).then(|| Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl OutputControl {
    /// Appends the record's 4 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let [low, high] = self.timer.to_le_bytes();
        out.extend_from_slice(&[self.output, self.action.byte(), low, high]);
    }

    pub(super) fn decode(&[output, action, low, high]: &[u8; 4]) -> Result<Self, DecodeError> {
        let action = OutputAction::from_byte(action).ok_or(undefined("OUT", "control code", action))?;
        Ok(Self { output, action, timer: u16::from_le_bytes([low, high]) })
    }
}

impl LedControl {
    /// Appends the record's 14 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.reader, self.led, self.temporary.byte()]);
        out.extend_from_slice(&self.temporary_blink.bytes());
        out.extend_from_slice(&self.timer.to_le_bytes());
        out.push(self.permanent.byte());
        out.extend_from_slice(&self.permanent_blink.bytes());
    }

    pub(super) fn decode(record: &[u8; 14]) -> Result<Self, DecodeError> {
        let &[reader, led, temporary, t0, t1, t2, t3, low, high, permanent, p0, p1, p2, p3] = record;
        Ok(Self {
            reader,
            led,
            temporary: TemporaryLed::from_byte(temporary).ok_or(undefined(
                "LED",
                "temporary control code",
                temporary,
            ))?,
            temporary_blink: blink([t0, t1, t2, t3])?,
            timer: u16::from_le_bytes([low, high]),
            permanent: PermanentLed::from_byte(permanent).ok_or(undefined(
                "LED",
                "permanent control code",
                permanent,
            ))?,
            permanent_blink: blink([p0, p1, p2, p3])?,
        })
    }
}

impl BuzzerControl {
    /// Appends the 5 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.reader, self.tone.byte(), self.on, self.off, self.count]);
    }

    pub(super) fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let &[reader, tone, on, off, count] = data else {
            return Err(DecodeError::Length { name: "BUZ", got: data.len(), expected: "5" });
        };
        let tone = Tone::from_byte(tone).ok_or(undefined("BUZ", "tone", tone))?;
        Ok(Self { reader, tone, on, off, count })
    }
}

impl TextControl {
    /// Appends 6 bytes and the text.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let length = u8::try_from(self.text.0.len()).unwrap_or(u8::MAX);
        out.extend_from_slice(&[self.reader, self.mode.byte(), self.seconds, self.row, self.column, length]);
        out.extend_from_slice(self.text.0.as_bytes());
    }

    pub(super) fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let length = DecodeError::Length { name: "TEXT", got: data.len(), expected: "6 and the text" };
        let &[reader, mode, seconds, row, column, count, ref text @ ..] = data else { return Err(length) };
        if text.len() != usize::from(count) {
            return Err(length);
        }
        let mode = TextMode::from_byte(mode).ok_or(undefined("TEXT", "mode", mode))?;
        let text = std::str::from_utf8(text).ok().and_then(TextLine::new).ok_or(DecodeError::Text)?;
        Ok(Self { reader, mode, seconds, row, column, text })
    }
}

fn blink([on, off, on_colour, off_colour]: [u8; 4]) -> Result<Blink, DecodeError> {
    let colour = |byte| Colour::from_byte(byte).ok_or(undefined("LED", "colour", byte));
    Ok(Blink { on, off, on_colour: colour(on_colour)?, off_colour: colour(off_colour)? })
}

const fn undefined(name: &'static str, field: &'static str, value: u8) -> DecodeError {
    DecodeError::Value { name, field, value }
}
