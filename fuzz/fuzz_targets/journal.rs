//! A journal is believed for a header that is half its old and half its new one,
//! and for nothing else.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use envelope_files::Journal;
use envelope_fuzz::{
    fixtures::{ENVELOPES, context, envelope},
    mutate::{Change, apply},
    now,
};
use envelope_sdk::Header;
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    journal: Bytes<'a>,
    /// Which header is in the file, what is written over it, and what happened to it then.
    header: u8,
    parts: Vec<(u16, u16, u8)>,
    changes: Vec<Change>,
    /// Whether the payload is that of the envelope.
    is_own_payload: bool,
}

#[derive(Debug, Arbitrary)]
enum Bytes<'a> {
    Raw(&'a [u8]),
    Of(u8, Vec<Change>),
}

/// The headers of one envelope, generation by generation, all of one length. The
/// wraps are fresh in each process; an input means the same in every one.
static HEADERS: LazyLock<Vec<Header>> = LazyLock::new(|| {
    let first = Header::parse(ENVELOPES[1][0]).expect("a fixture").0;
    let mut headers = vec![rewrapped(&first)];
    for _ in 0..4 {
        headers.push(rewrapped(headers.last().expect("one at least")));
    }
    headers
});

fn rewrapped(header: &Header) -> Header {
    now(envelope().pad_headers_to(1024).rewrap_header(header.clone(), &context())).expect("its own keys")
}

fn payload(of: &[u8]) -> &[u8] {
    &of[Header::parse(of).expect("a fixture").1..]
}

fuzz_target!(|input: Input<'_>| {
    let headers = &*HEADERS;
    let of = |index: u8| usize::from(index) % (headers.len() - 1);
    let bytes = match &input.journal {
        Bytes::Raw(bytes) => bytes.to_vec(),
        Bytes::Of(index, changes) => {
            let journal = |at: usize| Journal::new(headers[at].clone(), headers[at + 1].clone());
            let (one, other) = (journal(of(*index)), journal((of(*index) + 1) % (headers.len() - 1)));
            let bytes = |journal: Option<Journal>| journal.expect("one step").to_bytes();
            apply(&bytes(one), &bytes(other), changes)
        }
    };
    let Some(journal) = Journal::parse(&bytes) else { return };
    assert!(bytes.len() <= Journal::MAX_LEN);
    assert_eq!(journal.to_bytes(), bytes, "one spelling");
    assert_eq!(journal.old().generation() + 1, journal.new_header().generation());
    assert!(Journal::parse(&bytes[..bytes.len() - 1]).is_none());

    let mut front = headers[usize::from(input.header) % headers.len()].to_bytes();
    for (at, len, from) in input.parts.iter().take(16) {
        let start = usize::from(*at) % front.len();
        let end = (start + usize::from(*len)).min(front.len());
        match headers.get(usize::from(*from)) {
            Some(header) => front[start..end].copy_from_slice(&header.to_bytes()[start..end]),
            None => front[start..end].fill(0),
        }
    }
    let front = apply(&front, &journal.new_header().to_bytes(), &input.changes);
    let own = payload(ENVELOPES[1][usize::from(!input.is_own_payload)]);
    let file = [&front, own].concat();
    let opened = journal.open(&file, |header| now(envelope().unlock(header, &context())));

    let (old, new) = (journal.old().to_bytes(), journal.new_header().to_bytes());
    let there = file.get(..new.len()).unwrap_or_default();
    let is_whole = headers.iter().any(|header| header.to_bytes() == there);
    let is_mixed = there.len() == new.len()
        && there.iter().enumerate().all(|(at, byte)| [old[at], new[at], 0].contains(byte));
    let is_authentic =
        headers.windows(2).any(|pair| pair == [journal.old().clone(), journal.new_header().clone()]);
    let payload_is_own = file.get(new.len()..) == Some(payload(ENVELOPES[1][0]));
    match opened {
        Some(opened) => {
            assert_eq!(opened.header(), journal.new_header());
            assert!(is_authentic && is_mixed && !is_whole);
        }
        None => assert!(!(is_authentic && is_mixed && !is_whole && payload_is_own)),
    }
});
