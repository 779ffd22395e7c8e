//! Readers and writers that fail, stall, shorten, lie and panic: each run ends
//! in the right bytes or in an error that stays.

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that goes wrong shall stop"
)]

mod armor;
#[cfg(feature = "tokio")]
mod asynchronous;
#[path = "../common/mod.rs"]
mod common;
mod files;
mod pipes;
mod script;
mod silent;

use std::{num::NonZeroUsize, sync::LazyLock};

use common::{block_on, context, envelope, memory, message};
use envelope_sdk::{
    Envelope, OpenedHeader, PayloadKind, Started,
    stream::{self, Parallel, StreamError, read_header},
};
use pipes::{Sink, Source};
use proptest::prelude::*;
use script::{Script, Step};

const CHUNK: usize = 16_384;
const SEALED: usize = CHUNK + 16;

static MAKER: LazyLock<Envelope> = LazyLock::new(|| {
    let (provider, keys) = memory(1);
    envelope(&provider, &keys)
});

fn start() -> Started {
    block_on(MAKER.start(PayloadKind::Detached, &context())).unwrap()
}

/// A payload of `plaintext` and its opened header.
fn sealed(plaintext: &[u8]) -> (OpenedHeader, Vec<u8>) {
    let (header, payload) = block_on(MAKER.encrypt_detached(plaintext, &context())).unwrap();
    let header = read_header(&mut &header[..]).unwrap();
    (block_on(MAKER.unlock(header, &context())).unwrap(), payload)
}

/// What a payload opens to, if it does.
fn opens(header: &[u8], payload: &[u8]) -> Option<Vec<u8>> {
    block_on(MAKER.decrypt_detached(header, payload, &context())).ok()
}

fn parallel(threads: usize) -> Parallel<'static> {
    Parallel::new().threads(NonZeroUsize::new(threads).unwrap())
}

/// One thread, two with blocks of 64 chunks, and so many that a block has 16
/// chunks in a file and 8 in a pipe.
fn threads() -> impl Strategy<Value = usize> {
    prop_oneof![Just(1_usize), Just(2), Just(32)]
}

/// Few bytes, some chunks, and more than a block of many threads.
fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![0_usize..100, 0..4 * CHUNK, Just(8 * CHUNK), Just(16 * CHUNK), 15 * CHUNK..40 * CHUNK]
}

#[test]
fn a_count_beyond_what_was_asked_for_is_an_error_everywhere() {
    let lie = || Script::new(vec![Step::Lie(1)]);
    let plaintext = message(3 * CHUNK);
    let (opened, payload) = sealed(&plaintext);
    let said = |error: StreamError| {
        assert!(matches!(error, StreamError::Read(_) | StreamError::Write(_)), "{error:?}");
        assert!(error.to_string().contains("bytes were reported as done where"), "{error}");
    };
    let sink = || Sink { script: lie(), ..Sink::default() };
    said(read_header(&mut Source::new(&payload, &lie())).unwrap_err());
    for threads in [1, 2] {
        let (parallel, source) = (parallel(threads), |bytes: &[u8]| Source::new(bytes, &lie()));
        let (whole, none) = (|bytes: &[u8]| Source::new(bytes, &Script::default()), &mut Vec::new());
        said(parallel.seal_pipe(start().payload, source(&plaintext), none).unwrap_err());
        said(parallel.seal_pipe(start().payload, whole(&plaintext), &mut sink()).unwrap_err());
        said(parallel.open_pipe(&opened, source(&payload), none).unwrap_err());
        said(parallel.open_pipe(&opened, whole(&payload), &mut sink()).unwrap_err());
    }
    // One beyond the first chunk, and far within the block.
    let mut late = Source::new(&plaintext, &Script::new(vec![Step::Whole, Step::Lie(1)]));
    said(stream::seal(start().payload, &mut late, &mut Vec::new()).unwrap_err());
}
