//! Which envelopes each key version opens, in a file: what is asked before a key is destroyed.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Write},
};

use envelope_sdk::{Header, printable};
use serde::{Deserialize, Serialize};

use crate::Item;

/// Writes the file: lines of JSON, one for each envelope between a first and a last one. The same envelopes in the same order
/// give the same bytes.
///
/// Nothing in it is authenticated: it says what the headers say, and whoever can write the file can change it.
pub struct UsageWriter<W: Write> {
    out: W,
    envelopes: u64,
}

impl<W: Write> UsageWriter<W> {
    /// Begins the file. `made`: when, such as `2026-11-29T10:00:00Z`; `of`: the paths or URLs that are looked at.
    ///
    /// # Errors
    ///
    /// Of writing.
    pub fn begin(out: W, made: &str, of: &[String]) -> io::Result<Self> {
        let mut writer = Self { out, envelopes: 0 };
        writer.line(&Line::Begin(Begin { envelope_usage: VERSION, made: made.into(), of: of.into() }))?;
        Ok(writer)
    }

    /// One more envelope.
    ///
    /// # Errors
    ///
    /// Of writing.
    pub fn add(&mut self, item: &Item, header: &Header) -> io::Result<()> {
        self.envelopes += 1;
        let opens = header.recipients().iter().map(|recipient| KeyVersion {
            key: recipient.key_uri().as_str().into(),
            version: recipient.key_version().into(),
        });
        let id = header.envelope_id().iter().map(|byte| format!("{byte:02x}")).collect();
        let item = String::from_utf8_lossy(item.name()).into_owned();
        self.line(&Line::Envelope(UsedEnvelope { id, item, opens: opens.collect() }))
    }

    /// Ends the file, and gives back what it was written to. `not_read`: items that may be envelopes and could not be read.
    ///
    /// # Errors
    ///
    /// Of writing.
    pub fn end(mut self, not_read: u64) -> io::Result<W> {
        self.line(&Line::End(End { envelopes: self.envelopes, not_read }))?;
        Ok(self.out)
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        let json = printable::json(serde_json::to_string(line)?);
        self.out.write_all(json.as_bytes())?;
        self.out.write_all(b"\n")
    }
}

/// Reads the file of a [`UsageWriter`], an envelope at a time.
pub struct UsageReader<R> {
    from: R,
    made: String,
    of: Vec<String>,
    envelopes: u64,
    end: Option<End>,
}

impl<R: BufRead> UsageReader<R> {
    /// Reads the first line.
    ///
    /// # Errors
    ///
    /// [`UsageReportError`].
    pub fn open(from: R) -> Result<Self, UsageReportError> {
        let mut reader = Self { from, made: String::new(), of: Vec::new(), envelopes: 0, end: None };
        match reader.line(MOST_BYTES_OF_PATHS)? {
            Some(Line::Begin(begin)) if begin.envelope_usage == VERSION => {
                (reader.made, reader.of) = (begin.made, begin.of);
            }
            _ => return Err(UsageReportError::NotAReport),
        }
        Ok(reader)
    }

    /// When it was made, in the words of whoever made it.
    #[must_use]
    pub fn made(&self) -> &str {
        &self.made
    }

    /// The paths or URLs that were looked at, as whoever made it called them.
    #[must_use]
    pub fn of(&self) -> &[String] {
        &self.of
    }

    /// The next envelope; `None` at the end, which is there and has the right number.
    ///
    /// # Errors
    ///
    /// [`UsageReportError`]; [`CutOff`](UsageReportError::CutOff) when the end is missing.
    pub fn next_envelope(&mut self) -> Result<Option<UsedEnvelope>, UsageReportError> {
        if self.end.is_some() {
            return Ok(None);
        }
        match self.line(MOST_BYTES)? {
            Some(Line::Envelope(envelope)) => {
                self.envelopes += 1;
                Ok(Some(envelope))
            }
            Some(Line::End(end)) if end.envelopes == self.envelopes => {
                // Two in one file: nobody would read the second.
                if self.line(MOST_BYTES)?.is_some() {
                    return Err(UsageReportError::More);
                }
                self.end = Some(end);
                Ok(None)
            }
            Some(Line::Begin(_)) => Err(UsageReportError::NotAReport),
            Some(Line::End(_)) | None => Err(UsageReportError::CutOff),
        }
    }

    /// Items that may be envelopes and could not be read, once the end was.
    #[must_use]
    pub fn not_read(&self) -> u64 {
        self.end.as_ref().map_or(0, |end| end.not_read)
    }

    /// A line of so many bytes at most.
    fn line(&mut self, most: u64) -> Result<Option<Line>, UsageReportError> {
        let mut line = Vec::new();
        let read = io::Read::take(&mut self.from, most).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') {
            return Err(UsageReportError::CutOff);
        }
        serde_json::from_slice(&line).map(Some).map_err(|_| UsageReportError::NotAReport)
    }
}

/// One envelope, as its header was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsedEnvelope {
    /// Its id, in hexadecimal.
    #[serde(rename = "envelope")]
    pub id: String,
    /// Its name in its source; lossy where that is not UTF-8.
    pub item: String,
    /// The key versions that open it.
    pub opens: Vec<KeyVersion>,
}

/// A version of a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyVersion {
    /// The URI of the key.
    pub key: String,
    /// The version, empty where the key store tells none.
    pub version: String,
}

/// What the end of a key, or of one version of it, does to the envelopes of reports. Each report counts: an envelope that two of them
/// name is counted twice, since two machines may have one of the same name, and an older copy of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// Envelopes of the reports, whatever opens them.
    pub envelopes: u64,
    /// Envelopes that it opens.
    pub opened: u64,
    /// Those of them that nothing else opens.
    pub unreadable: u64,
    /// Both, by version: of the first 10,000.
    pub by_version: BTreeMap<String, Counts>,
    /// Items that may be envelopes and could not be read.
    pub not_read: u64,
}

/// Envelopes of one version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// That it opens.
    pub opened: u64,
    /// That are unreadable without what is destroyed.
    pub unreadable: u64,
}

impl Loss {
    /// Reads a report to its end. `ends` says which key versions are destroyed; `lost` is told each envelope that becomes
    /// unreadable.
    ///
    /// # Errors
    ///
    /// [`UsageReportError`], or what `lost` says.
    pub fn add<R: BufRead, E: From<UsageReportError>>(
        &mut self,
        mut report: UsageReader<R>,
        ends: impl Fn(&KeyVersion) -> bool,
        mut lost: impl FnMut(&UsedEnvelope) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(envelope) = report.next_envelope()? {
            self.envelopes += 1;
            let mut ending: Vec<_> = envelope.opens.iter().filter(|of| ends(of)).collect();
            if ending.is_empty() {
                continue;
            }
            let is_lost = ending.len() == envelope.opens.len();
            self.opened += 1;
            self.unreadable += u64::from(is_lost);
            ending.sort();
            ending.dedup();
            for KeyVersion { version, .. } in ending {
                if self.by_version.len() < crate::Usage::MOST || self.by_version.contains_key(version) {
                    let counts = self.by_version.entry(version.clone()).or_default();
                    counts.opened += 1;
                    counts.unreadable += u64::from(is_lost);
                }
            }
            if is_lost {
                lost(&envelope)?;
            }
        }
        self.not_read += report.not_read();
        Ok(())
    }
}

/// Why a file is no usage report, or not a whole one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UsageReportError {
    /// It is something else.
    #[error("it is no usage report: `envctl keys usage PATH --report FILE` makes one")]
    NotAReport,
    /// Its end is missing.
    #[error("it is cut off: make it again")]
    CutOff,
    /// Something follows its end.
    #[error("it goes on behind its end: several reports are named one by one, not in one file")]
    More,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Begin(Begin),
    Envelope(UsedEnvelope),
    End(End),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {
    envelope_usage: u32,
    made: String,
    of: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    envelopes: u64,
    not_read: u64,
}

const VERSION: u32 = 1;
/// More than a header of 64 KiB and a long name come to, each character escaped.
const MOST_BYTES: u64 = 1 << 20;
/// More than the paths of a call come to, each character escaped: Linux takes 6 MiB of them at most.
const MOST_BYTES_OF_PATHS: u64 = 64 << 20;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test that goes wrong shall stop")]
mod tests {
    use super::*;

    const REPORT: &str = concat!(
        "{\"envelope_usage\":1,\"made\":\"2026-11-29T10:00:00Z\",\"of\":[\"tree\"]}\n",
        "{\"envelope\":\"01\",\"item\":\"a\",\"opens\":[{\"key\":\"local:k\",\"version\":\"1\"}]}\n",
        "{\"envelope\":\"02\",\"item\":\"b\",\"opens\":[{\"key\":\"local:k\",\"version\":\"1\"},{\"key\":\"local:k\",\"version\":\"2\"}]}\n",
        "{\"envelope\":\"03\",\"item\":\"c\",\"opens\":[{\"key\":\"local:k\",\"version\":\"2\"},{\"key\":\"local:other\",\"version\":\"1\"}]}\n",
        "{\"envelopes\":3,\"not_read\":4}\n",
    );

    fn loss(ends: impl Fn(&KeyVersion) -> bool) -> (Loss, Vec<String>) {
        let (mut loss, mut names) = (Loss::default(), Vec::new());
        let lost = |envelope: &UsedEnvelope| {
            names.push(envelope.item.clone());
            Ok::<_, UsageReportError>(())
        };
        loss.add(UsageReader::open(REPORT.as_bytes()).unwrap(), ends, lost).unwrap();
        (loss, names)
    }

    #[test]
    fn a_version_takes_with_it_what_nothing_else_opens() {
        let (version, names) = loss(|of| of.key == "local:k" && of.version == "1");
        assert_eq!((version.opened, version.unreadable, version.not_read), (2, 1, 4));
        assert_eq!(names, ["a"]);
        let (key, names) = loss(|of| of.key == "local:k");
        assert_eq!((key.opened, key.unreadable), (3, 2));
        assert_eq!(names, ["a", "b"], "two versions of one key are no two keys");
        assert_eq!(key.by_version["1"], Counts { opened: 2, unreadable: 2 });
        assert_eq!(key.by_version["2"], Counts { opened: 2, unreadable: 1 });
        assert_eq!(loss(|of| of.key == "local:none").0.opened, 0);
    }

    /// As many as a shell makes of `archive/*`.
    #[test]
    fn a_report_over_very_many_paths_is_read() {
        let of: Vec<_> = (0..60_000).map(|number| format!("/srv/archive/{number:06}.envelope")).collect();
        let report = UsageWriter::begin(Vec::new(), "2026-11-29T10:00:00Z", &of).unwrap().end(0).unwrap();
        let mut reader = UsageReader::open(report.as_slice()).unwrap();
        assert!(reader.of() == of);
        assert_eq!(reader.next_envelope().unwrap(), None);
    }

    #[test]
    fn a_report_that_is_cut_off_anywhere_is_refused() {
        for cut in 0..REPORT.len() {
            let read = UsageReader::open(&REPORT.as_bytes()[..cut])
                .and_then(|report| Loss::default().add(report, |_| true, |_| Ok::<_, UsageReportError>(())));
            match (cut, &read) {
                (0, Err(UsageReportError::NotAReport)) | (1.., Err(UsageReportError::CutOff)) => {}
                _ => panic!("cut at {cut}: {read:?}"),
            }
        }
        let twice = UsageReader::open([REPORT, REPORT].concat().leak().as_bytes()).unwrap();
        let read = Loss::default().add(twice, |_| true, |_| Ok::<_, UsageReportError>(()));
        assert!(matches!(read, Err(UsageReportError::More)), "{read:?}");
        for other in ["", "{}\n", "hello\n", "{\"envelope_usage\":2,\"made\":\"\",\"of\":[]}\n"] {
            assert!(
                matches!(UsageReader::open(other.as_bytes()), Err(UsageReportError::NotAReport)),
                "{other:?}"
            );
        }
    }
}
