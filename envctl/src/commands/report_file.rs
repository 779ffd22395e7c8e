//! The file of `--report`: JSON, or a page for people.

use std::{
    io::{self, BufWriter, Write},
    mem,
    path::{Path, PathBuf},
};

use envelope_files::{Access, Existing, NewFile};
use envelope_rotation::{HtmlReport, ItemReport};
#[cfg(feature = "sql")]
use envelope_sdk::printable;
use serde_json::{Value, json};

use crate::{
    error::{CliError, Result},
    report::json_line,
};

/// Written as items come. It appears under its name when it is whole, however the job ends.
pub(crate) struct ReportFile {
    file: BufWriter<NewFile>,
    path: PathBuf,
    form: Form,
    written: io::Result<()>,
}

enum Form {
    /// `{"items": [one in a line], "totals": …, "finished": …, "error": …}`.
    Json {
        is_first: bool,
    },
    Html(Box<HtmlReport>),
}

impl ReportFile {
    /// HTML, if the name says so.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = BufWriter::new(NewFile::create(path, Existing::Keep, Access::Public)?);
        let is_html = path
            .extension()
            .is_some_and(|end| end.eq_ignore_ascii_case("html") || end.eq_ignore_ascii_case("htm"));
        let form = if is_html { Form::Html(Box::default()) } else { Form::Json { is_first: true } };
        let mut report = Self { file, path: path.to_owned(), form, written: Ok(()) };
        if !is_html {
            report.write("{\"items\":[");
        }
        Ok(report)
    }

    /// JSON, whatever is in it.
    #[cfg(feature = "sql")]
    pub(crate) fn create_json(path: &Path) -> Result<Self> {
        let report = Self::create(path)?;
        match report.form {
            Form::Json { .. } => Ok(report),
            Form::Html(_) => Err(CliError::usage("this report is JSON, and no page: name it otherwise")
                .about(printable::path(path))),
        }
    }

    pub(crate) fn add(&mut self, item: &ItemReport) {
        match &mut self.form {
            Form::Html(page) => page.add(item),
            Form::Json { .. } => self.add_json(&item.to_json()),
        }
    }

    /// One more item, where the report is JSON.
    pub(crate) fn add_json(&mut self, item: &Value) {
        let Form::Json { is_first } = &mut self.form else { return };
        let before = if mem::take(is_first) { "\n" } else { ",\n" };
        self.write(before);
        self.write(&json_line(item));
    }

    /// `text` is what is said of the whole, `trouble` why it did not come to its end.
    pub(crate) fn finish(mut self, totals: &Value, text: &str, trouble: Option<&str>) -> Result<()> {
        let end = match &self.form {
            Form::Html(page) => page.page("Rotation of envelopes", text, trouble),
            Form::Json { .. } => {
                let error = json_line(&json!(trouble));
                let (totals, finished) = (json_line(totals), trouble.is_none());
                format!("\n],\"totals\":{totals},\"finished\":{finished},\"error\":{error}}}\n")
            }
        };
        self.write(&end);
        let cannot = |error| CliError::io("write", &self.path, &error);
        self.written.map_err(cannot)?;
        let file = self.file.into_inner().map_err(|error| cannot(error.into_error()))?;
        Ok(file.commit().map(drop)?)
    }

    /// The first error is told at the end: the job goes on.
    fn write(&mut self, text: &str) {
        if self.written.is_ok() {
            self.written = self.file.write_all(text.as_bytes());
        }
    }
}
