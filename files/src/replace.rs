//! A new header in a file that must be replaced for it: what follows the header goes along byte for byte.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
};

use envelope_sdk::{
    Header,
    format::armor::{ArmorReader, ArmorWriter},
    stream,
};

use crate::{
    FileError, LockedFile,
    disk::{self, Change, Writer},
};

impl LockedFile {
    /// Replaces the file by one that has the header `new` in the place of `old`, after
    /// [`write_header`](Self::write_header) could not write it in place, or because the file `is_armored`. `copied` is
    /// told of bytes of the payload as they are copied. Returns the length of the new file.
    ///
    /// # Errors
    ///
    /// [`FileError`]; the file is as it was then. [`FileError::Changed`] when its header is not `old` any more. The
    /// source of a [`FileError::Io`] holds a [`FormatError`](envelope_sdk::FormatError) when the armor is damaged.
    pub fn replace_header(
        self,
        old: &Header,
        new: &Header,
        is_armored: bool,
        copied: &dyn Fn(u64),
    ) -> Result<u64, FileError> {
        let path = self.path().to_owned();
        let output = self.replacement()?;
        let is_old = if is_armored {
            replace_armored(self.file(), old, new, output.file())
        } else {
            // What a journal was believed for, in a file that cannot be written, is cut off still.
            let is_cut_off = |there: &[u8]| {
                let journal = self.journal().and_then(|beside| beside.journal);
                journal.is_some_and(|of| of.is_torn(there) && [of.old(), of.new_header()].contains(&old))
            };
            replace_binary(self.file(), is_cut_off, old, new, output.file(), copied)
        };
        let cannot = |error| FileError::io("rewrite", &path, error);
        if !is_old.map_err(cannot)? {
            return Err(FileError::Changed { path });
        }
        let len = output.file().metadata().map_err(cannot)?.len();
        self.replaced(output.commit()?, new)?;
        Ok(len)
    }
}

/// False when the header that is there is not `old`. `io::copy` between files lets the kernel share the blocks
/// where the file system can.
fn replace_binary(
    mut file: &File,
    is_cut_off: impl FnOnce(&[u8]) -> bool,
    old: &Header,
    new: &Header,
    mut output: &File,
    copied: &dyn Fn(u64),
) -> io::Result<bool> {
    let mut there = Vec::with_capacity(old.len());
    file.seek(SeekFrom::Start(0))?;
    file.take(old.len() as u64).read_to_end(&mut there)?;
    if there != old.to_bytes() && !is_cut_off(&there) {
        return Ok(false);
    }
    Writer(output).write_all(&new.to_bytes())?;
    loop {
        let step = disk::change(Change::Write(output), || io::copy(&mut file.take(COPY_STEP), &mut output))?;
        if step == 0 {
            return Ok(true);
        }
        copied(step);
    }
}

fn replace_armored(mut file: &File, old: &Header, new: &Header, output: &File) -> io::Result<bool> {
    file.seek(SeekFrom::Start(0))?;
    let mut decoded = BufReader::new(ArmorReader::new(BufReader::with_capacity(COPY_BUFFER, file)));
    if stream::read_header(&mut decoded)? != *old {
        return Ok(false);
    }
    let mut armor = ArmorWriter::new(BufWriter::new(Writer(output)))?;
    armor.write_all(&new.to_bytes())?;
    // Base64 lines are decoded to the end, so damage there is an error here.
    io::copy(&mut decoded, &mut armor)?;
    armor.finish()?.flush()?;
    Ok(true)
}

/// Bytes to copy between two reports of progress.
const COPY_STEP: u64 = 64 << 20;
const COPY_BUFFER: usize = 64 * 1024;
