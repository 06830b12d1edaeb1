//! A stream sealed with a passphrase, in the format of `age` (age-encryption.org/v1, one scrypt recipient): the tool of
//! that name opens it as well.
//!
//! ```text
//! header │ nonce │ chunk 0 │ chunk 1 │ … │ last chunk      each chunk: 64 KiB and a tag, the last one shorter or full
//! ```
//! Invariants: nothing of a chunk is handed out before its tag has been checked. A chunk's nonce is its number and
//! whether it is the last one, so that chunks left out, exchanged or cut off are found. No key is used for a second
//! stream.

mod header;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead, BufReader, Read, Write};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use self::header::{FileKey, Header};

/// Bytes of plaintext in a chunk.
const CHUNK: usize = 64 << 10;
/// Bytes of a chunk's tag.
const TAG: usize = 16;
/// Bytes of the nonce that the key of the chunks is derived with.
const NONCE: usize = 16;

/// Why a sealed stream cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It does not begin as one.
    #[error("it is no backup of this program: name a file that `backup` has written")]
    Foreign,
    /// It is of the format, but with something that this program does not know.
    #[error("it is sealed in a way that this version does not know ({0}): restore it with a newer version")]
    Unknown(String),
    /// Deriving its key would take more memory than a small machine has.
    #[error("it is sealed with a work factor of {0}, above {most}, the most that this program takes: seal it again with a smaller one", most = header::MOST_WORK)]
    TooMuchWork(u8),
    /// The passphrase is another one.
    #[error("the passphrase is not the one that it was sealed with: try again with the right one")]
    Passphrase,
    /// Something in it has changed, or its end is missing.
    #[error("it is damaged: it was altered, or copied in part only; fetch it again, or take another backup")]
    Damaged,
    /// The operating system gives no random bytes.
    #[error("the backup cannot be sealed, for the operating system gives no random bytes: {0}")]
    Random(getrandom::Error),
    /// It cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<SealError> for io::Error {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Io(error) => error,
            error => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}

/// Seals what is written to it. Without [`Sealer::finish`] the stream is not whole, and cannot be opened to its end.
pub struct Sealer<W> {
    out: W,
    cipher: Cipher,
    /// Plaintext that has not been written yet, with room for its tag.
    chunk: Zeroizing<Vec<u8>>,
}

/// Opens what [`Sealer`] sealed.
pub struct Opener<R> {
    source: BufReader<R>,
    cipher: Cipher,
    /// Plaintext of the chunk that was read last, and how far it has been handed out.
    chunk: Zeroizing<Vec<u8>>,
    at: usize,
    is_over: bool,
}

/// What a stream takes at random.
struct Randomness {
    file_key: FileKey,
    salt: [u8; header::SALT],
    nonce: [u8; NONCE],
}

struct Cipher {
    key: LessSafeKey,
    chunks: u64,
}

impl<W: Write> Sealer<W> {
    /// Begins a stream. Takes some tenths of a second and 32 MiB while the key is derived.
    ///
    /// # Errors
    /// There are no random bytes, or the header cannot be written.
    pub fn new(out: W, passphrase: &str) -> Result<Self, SealError> {
        Self::with(out, passphrase, header::WORK, &Randomness::new()?)
    }

    fn with(mut out: W, passphrase: &str, work: u8, random: &Randomness) -> Result<Self, SealError> {
        out.write_all(&Header::seal(&random.file_key, passphrase, random.salt, work))?;
        out.write_all(&random.nonce)?;
        let cipher = Cipher::new(&random.file_key, &random.nonce);
        Ok(Self { out, cipher, chunk: empty_chunk() })
    }

    /// Writes the last chunk and returns what the stream was written to, which is neither flushed nor synced.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.write_chunk(true)?;
        Ok(self.out)
    }

    fn write_chunk(&mut self, is_last: bool) -> io::Result<()> {
        self.cipher.seal(&mut self.chunk, is_last)?;
        self.out.write_all(&self.chunk)?;
        self.chunk.clear();
        Ok(())
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Only now is it known that a full chunk was not the last one.
        if self.chunk.len() == CHUNK && !bytes.is_empty() {
            self.write_chunk(false)?;
        }
        let length = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend(bytes.iter().take(length));
        Ok(length)
    }

    /// Does nothing: a chunk is written when it is full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<R: Read> Opener<R> {
    /// Reads the header and derives the key.
    ///
    /// # Errors
    /// [`SealError`]: it is no such stream, or the passphrase is wrong.
    pub fn new(source: R, passphrase: &str) -> Result<Self, SealError> {
        let mut source = BufReader::with_capacity(CHUNK + TAG, source);
        let file_key = Header::read(&mut source)?.open(passphrase)?;
        let mut nonce = [0; NONCE];
        source.read_exact(&mut nonce).map_err(|error| cut_short(error, SealError::Damaged))?;
        let cipher = Cipher::new(&file_key, &nonce);
        Ok(Self { source, cipher, chunk: empty_chunk(), at: 0, is_over: false })
    }

    /// Reads the next chunk; whether there was one.
    fn read_chunk(&mut self) -> Result<(), SealError> {
        self.chunk.clear();
        self.at = 0;
        let length = (CHUNK + TAG) as u64;
        (&mut self.source).take(length).read_to_end(&mut self.chunk)?;
        let is_last = self.source.fill_buf()?.is_empty();
        let is_first = self.cipher.chunks == 0;
        self.cipher.open(&mut self.chunk, is_last)?;
        // Else an end could be cut off where a chunk ends.
        if self.chunk.is_empty() && !is_first {
            return Err(SealError::Damaged);
        }
        self.is_over = is_last;
        Ok(())
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() && !self.is_over && !buffer.is_empty() {
            if let Err(error) = self.read_chunk() {
                self.chunk.clear();
                return Err(error.into());
            }
        }
        let rest = self.chunk.get(self.at..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.at += length;
        Ok(length)
    }
}

impl Randomness {
    fn new() -> Result<Self, SealError> {
        let mut random = Self { file_key: FileKey::default(), salt: [0; header::SALT], nonce: [0; NONCE] };
        for bytes in [random.file_key.as_mut(), &mut random.salt, &mut random.nonce] {
            getrandom::fill(bytes).map_err(SealError::Random)?;
        }
        Ok(random)
    }
}

impl Cipher {
    fn new(file_key: &FileKey, nonce: &[u8; NONCE]) -> Self {
        let key = header::derive(file_key, nonce, "payload");
        Self { key: aead_key(&key), chunks: 0 }
    }

    fn seal(&mut self, chunk: &mut Vec<u8>, is_last: bool) -> io::Result<()> {
        let nonce = self.next(is_last);
        let sealed = self.key.seal_in_place_append_tag(nonce, Aad::empty(), chunk);
        sealed.map_err(|_| io::Error::other("a chunk cannot be sealed"))
    }

    fn open(&mut self, chunk: &mut Vec<u8>, is_last: bool) -> Result<(), SealError> {
        let nonce = self.next(is_last);
        let length =
            self.key.open_in_place(nonce, Aad::empty(), chunk).map_err(|_| SealError::Damaged)?.len();
        chunk.truncate(length);
        Ok(())
    }

    /// Returns the next nonce: the chunk's number in 11 bytes, and 1 where it is the last one.
    fn next(&mut self, is_last: bool) -> Nonce {
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&self.chunks.to_be_bytes());
        nonce[11] = is_last.into();
        self.chunks += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

fn aead_key(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("a key of ChaCha20 has 32 bytes"))
}

/// Returns room for a chunk and its tag: one that grew would leave plaintext behind in memory.
fn empty_chunk() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Vec::with_capacity(CHUNK + TAG + 1))
}

/// Says what the early end of a stream means.
fn cut_short(error: io::Error, meaning: SealError) -> SealError {
    if error.kind() == io::ErrorKind::UnexpectedEof { meaning } else { SealError::Io(error) }
}
