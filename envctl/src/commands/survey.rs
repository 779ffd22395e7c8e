//! `envctl PROVIDER …`: what there is to be reached.

use std::fmt::Write as _;

use envelope_sdk::admin::{Detail, Details};
use serde_json::Value;

use crate::{
    cli::Global,
    error::{CliError, Result},
    key_stores::KeyStoreCommand,
    providers::Providers,
    report::{self, details_json, safe},
    runtime::block_on,
};

pub(crate) fn run(global: &Global, command: &KeyStoreCommand) -> Result<()> {
    let providers = Providers::new(global)?;
    let details = survey(&providers, &command.provider)?;
    let mut text = String::new();
    table(&mut text, &details, 0, command.all);
    report::print(global.json, &Value::Object(details_json(&details)), &text)
}

fn survey(providers: &Providers, provider: &str) -> Result<Details> {
    let scheme = providers.opened().registry().named(provider).map_err(CliError::of_call)?;
    block_on(scheme.survey()).map_err(CliError::of_call)
}

/// A line for each fact, those about a part indented below it. What is not so and
/// what there is none of takes no line.
fn table(text: &mut String, details: &Details, depth: usize, all: bool) {
    for (name, detail) in details.iter() {
        let name = name.replace('_', " ");
        let indent = "  ".repeat(depth);
        let _ = match detail {
            Detail::Flag(false) | Detail::Nothing => Ok(()),
            Detail::Flag(true) => writeln!(text, "{indent}{name}"),
            Detail::Table(details) => {
                let _ = writeln!(text, "{indent}{name}:");
                table(text, details, depth + 1, all);
                Ok(())
            }
            Detail::List(list) if list.iter().any(|detail| matches!(detail, Detail::Table(_))) => {
                tables(text, &name, list, depth, all);
                Ok(())
            }
            detail => writeln!(text, "{indent}{name}: {}", words(detail)),
        };
    }
}

fn tables(text: &mut String, name: &str, list: &[Detail], depth: usize, all: bool) {
    let indent = "  ".repeat(depth);
    // What was asked for is always listed, the long lists within it on demand.
    if depth > 0 && list.len() > MANY && !all {
        let _ = writeln!(text, "{indent}{name}: {}, which --all lists", list.len());
        return;
    }
    let _ = writeln!(text, "{indent}{name}:");
    for detail in list {
        let Detail::Table(details) = detail else { continue };
        if is_flat(details) {
            let line = details.iter().map(|(name, detail)| match name {
                "name" => words(detail),
                name => format!("{} {}", name.replace('_', " "), words(detail)),
            });
            let _ = writeln!(text, "{indent}- {}", line.collect::<Vec<_>>().join(", "));
        } else {
            let _ = writeln!(text, "{indent}-");
            table(text, details, depth + 1, all);
        }
    }
}

/// Whether it fits on a line.
fn is_flat(details: &Details) -> bool {
    details.iter().all(|(_, detail)| match detail {
        Detail::Table(_) => false,
        Detail::List(list) => !list.iter().any(|detail| matches!(detail, Detail::Table(_))),
        _ => true,
    })
}

fn words(detail: &Detail) -> String {
    match detail {
        Detail::Text(text) => safe(text),
        Detail::Number(number) => number.to_string(),
        Detail::Time(seconds) => report::time(*seconds),
        Detail::List(list) if list.is_empty() => "none".into(),
        Detail::List(list) => list.iter().map(words).collect::<Vec<_>>().join(" "),
        Detail::Flag(true) => "yes".into(),
        Detail::Flag(false) => "no".into(),
        _ => String::new(),
    }
}

/// Parts of a list that are shown unasked.
const MANY: usize = 16;
