//! From an old payload to a new one, and making sure of it.

use std::io::{self, Read, Write};

use envelope_sdk::{
    Header, OpenedHeader,
    stream::{self, PayloadSealer, RangedReader, ReadAt, StreamError},
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::SourceError;

/// What a [`Source`](crate::Source) needs to reencrypt one item. The plaintext goes from the old payload to the new
/// one in chunks that are erased, and is written nowhere.
///
/// The new header is wrapped, and each of its wraps was unwrapped and found right.
pub struct Reencryption {
    pub(crate) old: OpenedHeader,
    pub(crate) sealer: PayloadSealer,
    pub(crate) new: OpenedHeader,
}

impl Reencryption {
    /// The new header, which stands before the new payload or, detached, elsewhere.
    #[must_use]
    pub fn header(&self) -> &Header {
        self.new.header()
    }

    /// Writes the new payload to `to`: what the old one holds, which begins at `payload_at` of `from`. Buffer `to`
    /// yourself.
    ///
    /// # Errors
    ///
    /// [`SourceError`]: the old payload is not authentic, or reading or writing failed.
    pub fn seal(
        self,
        from: &(impl ReadAt + ?Sized),
        payload_at: u64,
        to: &mut impl Write,
    ) -> Result<Sealed, SourceError> {
        let mut plaintext = Hashing::new(RangedReader::new(&self.old, from, payload_at).map_err(of_stream)?);
        stream::seal(self.sealer, &mut plaintext, to).map_err(of_stream)?;
        Ok(Sealed { new: self.new, digest: plaintext.hash.finalize().into(), len: plaintext.len })
    }
}

/// A new payload that was written, and not yet read.
#[must_use = "what was written must be checked before the old one goes"]
pub struct Sealed {
    new: OpenedHeader,
    digest: [u8; 32],
    len: u64,
}

impl Sealed {
    /// Opens the new payload, which begins at `payload_at` of `written`, to its end, and compares the SHA-256 of what
    /// it holds with that of the old one. Returns the new header.
    ///
    /// # Errors
    ///
    /// [`SourceError::NotVerified`] when it does not open, or holds something else.
    pub fn check(self, written: &(impl ReadAt + ?Sized), payload_at: u64) -> Result<Header, SourceError> {
        let not_verified = |error| match of_stream(error) {
            SourceError::Open(_) => SourceError::NotVerified,
            error => error,
        };
        let reader = RangedReader::new(&self.new, written, payload_at).map_err(not_verified)?;
        let mut plaintext = Hashing::new(reader);
        let mut chunk = Zeroizing::new([0; CHUNK]);
        while plaintext.read(chunk.as_mut_slice()).map_err(|error| not_verified(StreamError::Read(error)))?
            > 0
        {}
        let digest: [u8; 32] = plaintext.hash.finalize().into();
        if digest != self.digest || plaintext.len != self.len {
            return Err(SourceError::NotVerified);
        }
        Ok(self.new.header().clone())
    }
}

/// Hashes what is read through it.
struct Hashing<R> {
    inner: R,
    hash: Sha256,
    len: u64,
}

impl<R> Hashing<R> {
    fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new(), len: 0 }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out)?;
        self.hash.update(&out[..read]);
        self.len += read as u64;
        Ok(read)
    }
}

/// Whatever does not open is one error; the readers speak of it through I/O errors.
fn of_stream(error: StreamError) -> SourceError {
    match error {
        StreamError::Decrypt(error) => SourceError::Open(error),
        StreamError::Read(error) | StreamError::Write(error) => match error.downcast::<StreamError>() {
            Ok(inner) => of_stream(inner),
            Err(error) => SourceError::store(error),
        },
        error => SourceError::store(error),
    }
}

const CHUNK: usize = 16 * 1024;
