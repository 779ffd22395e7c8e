//! Resources: what is read without a question.

use rmcp::model::{ReadResourceResult, Resource, ResourceContents, ResourceTemplate};
use serde_json::json;

use crate::{Caller, Facade, Failure, Kind, times, words};

/// Most bytes of a part of a page of documentation. JSON escapes some of them.
const PART: usize = 40 * 1024;
/// Most bytes of the configuration, or of the list of keys, that are shown.
const MOST: usize = 24 * 1024;
/// Pages that one key store is asked for: a policy may hide all keys of any number of them.
const MOST_PAGES: usize = 100;

pub(crate) fn list(facade: &Facade) -> Vec<Resource> {
    let fixed = [
        (
            "envctl://keys",
            "keys",
            "The keys of every key store, their states and when they are due",
            "application/json",
        ),
        ("envctl://policy", "policy", "The policy: its id and the names of its rules", "application/json"),
        ("envctl://config", "config", "The configuration, without what may be secret", "text/plain"),
    ];
    let fixed = fixed.into_iter().map(|(uri, name, description, kind)| {
        Resource::new(uri, name).with_description(description).with_mime_type(kind)
    });
    let pages = facade.documents.iter().flat_map(|document| {
        parts(document.text).enumerate().map(move |(number, part)| {
            let suffix = if number == 0 { String::new() } else { format!("/{}", number + 1) };
            Resource::new(
                format!("envctl://docs/{}{suffix}", document.name),
                format!("{}{suffix}", document.name),
            )
            .with_title(document.title)
            .with_mime_type("text/markdown")
            .with_size(part.len() as u64)
        })
    });
    fixed.chain(pages).collect()
}

pub(crate) fn templates() -> Vec<ResourceTemplate> {
    let template = ResourceTemplate::new("envctl://docs/{name}/{part}", "docs")
        .with_description("A page of the documentation; long ones have parts, from 1")
        .with_mime_type("text/markdown");
    vec![template]
}

/// Documentation is what everybody has.
pub(crate) fn is_public(uri: &str) -> bool {
    uri.starts_with(DOCS)
}

pub(crate) async fn read(facade: &Facade, caller: &Caller, uri: &str) -> Result<ReadResourceResult, Failure> {
    let (text, kind) = match uri {
        "envctl://keys" => (keys(facade, caller).await, "application/json"),
        "envctl://policy" => (policy(facade)?, "application/json"),
        "envctl://config" => (lines(&facade.installation.configuration()?), "text/plain"),
        _ => (page(facade, uri)?.to_owned(), "text/markdown"),
    };
    let contents = ResourceContents::text(text, uri).with_mime_type(kind);
    Ok(ReadResourceResult::new(vec![contents]))
}

async fn keys(facade: &Facade, caller: &Caller) -> String {
    let (mut keys, mut failed, mut room, mut is_whole) = (Vec::new(), Vec::new(), MOST, true);
    for store in facade.keys.stores() {
        let (mut page, mut asked) = (None, 0);
        loop {
            if asked == MOST_PAGES {
                is_whole = false;
                break;
            }
            asked += 1;
            let listed = match facade.keys.list(caller, store.name, page.as_deref()).await {
                Ok(listed) => listed,
                Err(failure) => {
                    failed.push(json!({ "store": store.name, "error": failure.message }));
                    break;
                }
            };
            for key in listed.keys {
                let key = words::clean(json!({
                    "key": key.uri.as_str(),
                    "state": key.state.name(),
                    "due": key.is_due(times::now()),
                    "authenticated": store.is_authenticated,
                }));
                let bytes = key.to_string().len() + 1;
                is_whole &= bytes <= room;
                if is_whole {
                    room -= bytes;
                    keys.push(key);
                }
            }
            // A page that comes again would come for ever.
            if !is_whole || listed.next.is_none() || listed.next == page {
                break;
            }
            page = listed.next;
        }
    }
    let rest = (!is_whole).then_some("this is the beginning: the tool list_keys has pages");
    let value = json!({ "keys": keys, "unavailable": words::clean(failed.into()), "truncated": rest, "unverified": words::UNVERIFIED });
    value.to_string()
}

fn policy(facade: &Facade) -> Result<String, Failure> {
    let summary = facade.policy.summary()?;
    let text = words::clean(json!({ "policy": summary })).to_string();
    if text.len() <= MOST {
        Ok(text)
    } else {
        Err(Failure::new(Kind::Other, "the policy has too many rules to be listed"))
    }
}

/// Each line safe to show, and no more of them than fit.
fn lines(text: &str) -> String {
    let mut shown = String::new();
    for line in text.lines() {
        let line = words::shown(line, words::MAX_STRING);
        if shown.len() + line.len() > MOST {
            shown.push_str("# truncated\n");
            break;
        }
        shown.push_str(&line);
        shown.push('\n');
    }
    shown
}

fn page<'f>(facade: &'f Facade, uri: &str) -> Result<&'f str, Failure> {
    let absent = || Failure::usage("there is no such resource");
    let named = uri.strip_prefix(DOCS).ok_or_else(absent)?;
    let (name, part) = match named.split_once('/') {
        None => (named, 1),
        Some((name, part)) => (name, part.parse::<usize>().map_err(|_| absent())?),
    };
    let document = facade.documents.iter().find(|document| document.name == name).ok_or_else(absent)?;
    parts(document.text).nth(part.checked_sub(1).ok_or_else(absent)?).ok_or_else(absent)
}

/// Cut behind lines.
fn parts(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        let mut end = text.len().min(PART);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        if end < text.len() {
            end = text[..end].rfind('\n').map_or(end, |at| at + 1);
        }
        let (part, rest) = text.split_at(end);
        text = rest;
        Some(part)
    })
}

const DOCS: &str = "envctl://docs/";
