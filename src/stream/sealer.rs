//! What seals a payload, once.

use crate::crypto::{
    DefaultEngine, Key256,
    cobblestone::{self, ChunkSealer, Numbers, SALT_LEN},
};

/// Seals one payload: made by [`Envelope::start`](crate::Envelope::start), used
/// up by what seals with it ([`stream::seal`](super::seal) and its like).
///
/// A second payload under the same keys would repeat every nonce, so a sealer
/// that sealed is gone:
///
/// ```compile_fail,E0382
/// # use envelope_sdk::{Started, stream};
/// # fn example(started: Started) -> Result<(), stream::StreamError> {
/// let (mut one, mut two) = (Vec::new(), Vec::new());
/// stream::seal(started.payload, &mut &b"attack at dawn"[..], &mut one)?;
/// stream::seal(started.payload, &mut &b"attack at noon"[..], &mut two)?;
/// # Ok(()) }
/// ```
///
/// The same after an error, which may come when some chunks were sealed: start
/// again. Nor does anything else take its place, such as a sealer of chunks that
/// sealed some already:
///
/// ```compile_fail,E0308
/// # use envelope_sdk::{crypto::{DefaultEngine, cobblestone::Sealer}, stream};
/// # fn example(mut sealer: Sealer<DefaultEngine>) -> Result<(), Box<dyn std::error::Error>> {
/// sealer.seal_next_to(b"attack at dawn", &mut [0; 14 + 16])?;
/// stream::seal(sealer, &mut &b"attack at noon"[..], &mut Vec::new())?;
/// # Ok(()) }
/// ```
pub struct PayloadSealer {
    chunks: ChunkSealer<DefaultEngine>,
    numbers: Numbers,
}

impl PayloadSealer {
    /// `salt` must be fresh.
    pub(crate) fn new(content_key: &Key256, binding: &[u8], salt: [u8; SALT_LEN]) -> Self {
        let (chunks, numbers) = ChunkSealer::with_salt(content_key, binding, salt);
        Self { chunks, numbers }
    }

    /// Appends the payload of `plaintext` to `out`.
    pub(crate) fn seal_after(self, plaintext: &[u8], out: &mut Vec<u8>) {
        cobblestone::seal_after(&self.chunks, self.numbers, plaintext, out);
    }

    /// What seals the chunks, and their numbers.
    pub(super) fn into_parts(self) -> (ChunkSealer<DefaultEngine>, Numbers) {
        (self.chunks, self.numbers)
    }
}
