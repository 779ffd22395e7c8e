//! Secrets of one line: passphrases and PINs out of a file, a descriptor or a
//! pipe.

use std::io::{self, Read};

use zeroize::Zeroizing;

use crate::whole_io::read_some;

/// Most bytes of such a line, without its end: 64 KiB. What is longer is another
/// kind of file.
pub const MAX_LINE_LEN: usize = 64 * 1024;

/// Reads one line, without its end (`\n` or `\r\n`) or up to the end of the
/// input, and not a byte more: what follows the line belongs to somebody else,
/// as in `(echo "$passphrase"; cat data) | …`. So it reads one byte at a time;
/// give it no buffered reader that goes on elsewhere.
///
/// ```
/// let mut input = &b"correct horse\ndata"[..];
/// assert_eq!(*envelope_sdk::secret::read_line(&mut input)?, "correct horse");
/// assert_eq!(input, b"data");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// What the reader says; [`io::ErrorKind::InvalidData`] when the line is longer
/// than [`MAX_LINE_LEN`] or not UTF-8. No error repeats a byte of it.
pub fn read_line(input: &mut impl Read) -> io::Result<Zeroizing<String>> {
    // Never grown: a buffer that moves leaves a copy behind.
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_LINE_LEN + 1));
    let mut byte = Zeroizing::new([0]);
    loop {
        match read_some(input, byte.as_mut_slice())? {
            0 => break,
            _ if byte[0] == b'\n' => break,
            // Room for the `\r` of an end of two bytes.
            _ if line.len() > MAX_LINE_LEN => return Err(invalid("the line is longer than 64 KiB")),
            _ => line.push(byte[0]),
        }
    }
    let text = line.strip_suffix(b"\r").unwrap_or(&line);
    if text.len() > MAX_LINE_LEN {
        return Err(invalid("the line is longer than 64 KiB"));
    }
    let text = std::str::from_utf8(text).map_err(|_| invalid("the line is not UTF-8"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_line_is_not_swallowed() {
        let mut input = &b"one\r\ntwo\nthree"[..];
        assert_eq!(*read_line(&mut input).unwrap(), "one");
        assert_eq!(input, b"two\nthree");
        assert_eq!(*read_line(&mut input).unwrap(), "two");
        assert_eq!(*read_line(&mut input).unwrap(), "three");
        assert_eq!(*read_line(&mut input).unwrap(), "");
    }

    #[test]
    fn a_line_of_64_kib_is_read_and_a_longer_one_refused() {
        for end in ["", "\n", "\r\n"] {
            let longest = format!("{}{end}", "x".repeat(MAX_LINE_LEN));
            assert_eq!(read_line(&mut longest.as_bytes()).unwrap().len(), MAX_LINE_LEN);
            let longer = format!("x{longest}");
            let error = read_line(&mut longer.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), "the line is longer than 64 KiB");
        }
    }

    #[test]
    fn a_reader_that_says_it_gave_more_than_was_asked_for_gives_no_secret() {
        struct Lies;
        impl Read for Lies {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                out.fill(b'x');
                Ok(out.len() + 7)
            }
        }
        let error = read_line(&mut Lies).unwrap_err();
        assert_eq!(error.to_string(), "8 bytes were reported as done where 1 were asked for");
    }

    #[test]
    fn a_line_that_is_not_text_is_refused_without_repeating_it() {
        let error = read_line(&mut &b"sec\xffret\n"[..]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(error.to_string(), "the line is not UTF-8");
    }
}
