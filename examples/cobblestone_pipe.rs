//! Cobblestone-256 over a pipe, so that a program in another language can
//! compare itself with this crate: `scripts/differential` does.
//!
//! ```text
//! request  = "s" or "o" ‖ key 32 ‖ u32 length ‖ context ‖ u32 length ‖ message
//! response = u32 length ‖ the message, sealed or opened
//! ```
//!
//! Integers are big-endian. A message that does not open has the length
//! `ff ff ff ff` and no bytes.

use std::io::{self, BufReader, BufWriter, Read, Write};

use envelope_sdk::crypto::{DefaultEngine, Key256, cobblestone};

fn main() -> io::Result<()> {
    let (mut input, mut output) = (BufReader::new(io::stdin().lock()), BufWriter::new(io::stdout().lock()));
    loop {
        let mut verb = [0];
        if input.read(&mut verb)? == 0 {
            return Ok(());
        }
        let key = Key256::fill_with(|key| input.read_exact(key))?;
        let (context, message) = (read(&mut input)?, read(&mut input)?);
        let answer = match &verb {
            b"s" => {
                Some(cobblestone::seal::<DefaultEngine>(&key, &context, &message).map_err(io::Error::other)?)
            }
            b"o" => cobblestone::open::<DefaultEngine>(&key, &context, &message).ok(),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "neither s nor o")),
        };
        match answer {
            Some(message) => {
                output.write_all(&u32::try_from(message.len()).map_err(io::Error::other)?.to_be_bytes())?;
                output.write_all(&message)?;
            }
            None => output.write_all(&[0xFF; 4])?,
        }
        output.flush()?;
    }
}

fn read(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let mut bytes = Vec::new();
    input.take(u32::from_be_bytes(length).into()).read_to_end(&mut bytes)?;
    Ok(bytes)
}
