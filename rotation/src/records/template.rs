//! Which record it is: a context whose values come from the columns of its row.

use std::{collections::BTreeSet, fmt, str::FromStr};

use envelope_sdk::{EncryptionContext, printable};

/// The context of a record ([`DataKey::seal`](envelope_sdk::DataKey::seal)), with placeholders for what differs from row to row.
///
/// It is written as its entries are, `NAME=VALUE`. In a value, `{COLUMN}` stands for that column of the row, as the database
/// writes it as text, and `{}` for the name of the column that is sealed; `{{` and `}}` are braces. A name has none.
///
/// ```
/// use envelope_rotation::records::ContextTemplate;
///
/// let template = ContextTemplate::parse(&["row={id}", "column={}", "table=customers"])?;
/// let context = template.fill("email", |column| (column == "id").then(|| "17".to_owned()))?;
/// assert_eq!(context.get("row"), Some("17"));
/// assert_eq!(context.get("column"), Some("email"));
/// assert_eq!(context.get("table"), Some("customers"));
/// # Ok::<(), envelope_rotation::records::TemplateError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextTemplate {
    entries: Vec<(String, Vec<Part>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Column(String),
    /// The name of the column that is sealed.
    Sealed,
}

impl ContextTemplate {
    /// Reads the entries.
    ///
    /// # Errors
    ///
    /// [`TemplateError`]: one is no `NAME=VALUE`, has a brace that is not closed, or a name stands twice.
    pub fn parse(entries: &[impl AsRef<str>]) -> Result<Self, TemplateError> {
        let mut parsed: Vec<(String, Vec<Part>)> = Vec::new();
        for entry in entries {
            let entry = entry.as_ref();
            let wrong = |what| TemplateError::Entry { entry: printable::cut(entry, SHOWN), what };
            let (name, value) = entry.split_once('=').ok_or_else(|| wrong("it is not NAME=VALUE"))?;
            if name.is_empty() || name.contains(['{', '}']) {
                return Err(wrong("its name is empty or has a brace"));
            }
            if parsed.iter().any(|(known, _)| known == name) {
                return Err(wrong("there is another of that name"));
            }
            parsed.push((name.into(), parts(value).map_err(wrong)?));
        }
        Ok(Self { entries: parsed })
    }

    /// The columns of a row that it needs.
    #[must_use]
    pub fn columns(&self) -> BTreeSet<&str> {
        let parts = self.entries.iter().flat_map(|(_, parts)| parts);
        let columns = parts.filter_map(|part| match part {
            Part::Column(name) => Some(name.as_str()),
            Part::Text(_) | Part::Sealed => None,
        });
        columns.collect()
    }

    /// The context of the record in the column `sealed` of a row, whose other columns `value` tells.
    ///
    /// # Errors
    ///
    /// [`TemplateError::NoValue`] for a column that has none (`NULL`).
    pub fn fill(
        &self,
        sealed: &str,
        value: impl Fn(&str) -> Option<String>,
    ) -> Result<EncryptionContext, TemplateError> {
        let mut context = EncryptionContext::new();
        for (name, parts) in &self.entries {
            let mut text = String::new();
            for part in parts {
                match part {
                    Part::Text(part) => text.push_str(part),
                    Part::Sealed => text.push_str(sealed),
                    Part::Column(column) => match value(column) {
                        Some(value) => text.push_str(&value),
                        None => return Err(TemplateError::NoValue { column: printable::text(column) }),
                    },
                }
            }
            context = context.with(name, text);
        }
        Ok(context)
    }
}

impl FromStr for ContextTemplate {
    type Err = TemplateError;

    /// Entries that are parted by commas. For values with a comma, [`parse`](Self::parse).
    fn from_str(text: &str) -> Result<Self, TemplateError> {
        Self::parse(&text.split(',').filter(|entry| !entry.is_empty()).collect::<Vec<_>>())
    }
}

impl fmt::Display for ContextTemplate {
    /// As it was written, safe to print.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for (at, (name, parts)) in self.entries.iter().enumerate() {
            text.push_str(if at == 0 { "" } else { ", " });
            text.push_str(name);
            text.push('=');
            for part in parts {
                match part {
                    Part::Text(part) => text.push_str(&part.replace('{', "{{").replace('}', "}}")),
                    Part::Column(name) => text.extend(["{", name, "}"]),
                    Part::Sealed => text.push_str("{}"),
                }
            }
        }
        f.write_str(&printable::text(&text))
    }
}

/// What is wrong with a [`ContextTemplate`], or with a row for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// An entry is not understood.
    #[error("the template's entry {entry}: {what}")]
    Entry {
        /// The entry.
        entry: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The row has nothing there.
    #[error("the row has no value in the column {column}, which is part of its context")]
    NoValue {
        /// The column.
        column: String,
    },
}

fn parts(value: &str) -> Result<Vec<Part>, &'static str> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = value;
    while let Some(at) = rest.find(['{', '}']) {
        text.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            text.push_str(brace);
            rest = after;
        } else if brace == "}" {
            return Err("a } closes nothing; a brace itself is written }}");
        } else {
            let (name, after) =
                rest.split_once('}').ok_or("a { is not closed; a brace itself is written {{")?;
            if name.contains('{') {
                return Err("a { is not closed; a brace itself is written {{");
            }
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(if name.is_empty() { Part::Sealed } else { Part::Column(name.into()) });
            rest = after;
        }
    }
    text.push_str(rest);
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(parts)
}

/// Characters of an entry that an error shows.
const SHOWN: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(entries: &[&str]) -> String {
        let template = ContextTemplate::parse(entries).unwrap();
        let context = template.fill("email", |column| Some(format!("<{column}>"))).unwrap();
        let entries: Vec<_> = context.iter().map(|(name, value, _)| format!("{name}={value}")).collect();
        entries.join(" ")
    }

    #[test]
    fn values_are_text_and_columns_and_braces() {
        assert_eq!(filled(&["row={id}"]), "row=<id>");
        assert_eq!(filled(&["a={t}/{id}:{}", "b=", "c={{x}}={y}"]), "a=<t>/<id>:email b= c={x}=<y>");
        assert_eq!(filled(&["ü={ö ä}"]), "ü=<ö ä>");
    }

    #[test]
    fn what_is_read_is_shown_as_it_was_written() {
        for text in ["row={id}, column={}", "a={{{x}}}"] {
            assert_eq!(
                ContextTemplate::parse(&text.split(", ").collect::<Vec<_>>()).unwrap().to_string(),
                text
            );
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for entries in [
            &["row"][..],
            &["={id}"],
            &["row={id"],
            &["row=id}"],
            &["row={a{b}"],
            &["{a}=1"],
            &["a=1", "a=2"],
        ] {
            let error = ContextTemplate::parse(entries).unwrap_err();
            assert!(matches!(error, TemplateError::Entry { .. }), "{entries:?}: {error}");
        }
    }

    #[test]
    fn a_column_without_a_value_is_no_empty_text() {
        let template: ContextTemplate = "row={id}".parse().unwrap();
        let error = template.fill("email", |_| None).unwrap_err();
        assert_eq!(error, TemplateError::NoValue { column: "id".into() });
    }
}
