//! Whatever comes to the MCP server's standard input is answered line by line with JSON-RPC, or ends the session.
#![no_main]

use std::{cell::RefCell, collections::HashSet, fs, io, pin::Pin, sync::LazyLock, task};

use envelope_fuzz::{fixtures::ENVELOPES, mcp::facade, memory::bounded};
use envelope_mcp::{Caller, Ended, Facade, Server, serve};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::AsyncWrite,
    runtime::{Builder, Runtime},
};

/// A folder with an envelope, and what asks of it.
static SERVED: LazyLock<(TempDir, Facade)> = LazyLock::new(|| {
    let folder = match std::env::var_os("ENVELOPE_FUZZ_FOLDER") {
        Some(at) => tempfile::tempdir_in(at),
        None => tempfile::tempdir(),
    };
    let folder = folder.expect("a folder");
    fs::write(folder.path().join("a.envelope"), ENVELOPES[1][0]).expect("a file");
    let facade = facade(folder.path().into());
    // The first server describes the tools, for all of them: what that takes is not of an input.
    drop(Server::for_caller(facade.clone(), Caller::local()));
    (folder, facade)
});

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().max_blocking_threads(1).build().expect("a runtime");
    static WRITTEN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// Long lines that were found right.
    static RIGHT: RefCell<HashSet<String>> = RefCell::default();
}

/// Keeps what is written beyond the server, which owns its output.
struct Kept;

impl AsyncWrite for Kept {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
        bytes: &[u8],
    ) -> task::Poll<io::Result<usize>> {
        WRITTEN.with_borrow_mut(|written| written.extend_from_slice(bytes));
        task::Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> task::Poll<io::Result<()>> {
        task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> task::Poll<io::Result<()>> {
        task::Poll::Ready(Ok(()))
    }
}

const BEGIN: &str = concat!(
    r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"#,
    r#""clientInfo":{"name":"fuzz","version":"1"}}}"#,
    "\n",
    r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
    "\n",
);

/// A line of output is one message, short and with nothing that hides.
fn check(line: &str) {
    // The list of tools has 50 KiB and is the same each time: to read it takes longer than all the rest.
    let is_long = line.len() > 16 * 1024;
    if is_long && RIGHT.with_borrow(|right| right.contains(line)) {
        return;
    }
    assert!(!line.chars().any(char::is_control), "{line:?}");
    assert!(line.len() < 96 * 1024, "{} bytes", line.len());
    let answer: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    assert_eq!(answer["jsonrpc"], "2.0", "{line:?}");
    if is_long {
        RIGHT.with_borrow_mut(|right| {
            // Of other ids, they are other lines.
            if right.len() == MOST_RIGHT {
                right.clear();
            }
            right.insert(line.to_owned());
        });
    }
}

const MOST_RIGHT: usize = 64;

fuzz_target!(|data: &[u8]| {
    // What the first byte does not say is the input: whether the session has begun.
    let Some((first, rest)) = data.split_first() else { return };
    let has_begun = first % 4 != 0;
    let input = if has_begun { [BEGIN.as_bytes(), rest].concat() } else { rest.to_vec() };
    WRITTEN.with_borrow_mut(Vec::clear);
    LazyLock::force(&SERVED);
    let len = input.len();
    let ended = bounded(2 * len + 1024 * 1024, || {
        RUNTIME.with(|runtime| {
            let server = Server::for_caller(SERVED.1.clone(), Caller::local());
            runtime.block_on(serve(server, io::Cursor::new(input), Kept))
        })
    });
    if has_begun {
        assert_ne!(ended.ok(), Some(Ended::NotBegun));
    }
    WRITTEN.with_borrow(|written| {
        let mut answers = 0;
        for line in written.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").expect("whole lines");
            check(std::str::from_utf8(line).expect("UTF-8"));
            answers += 1;
        }
        let lines = rest.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
        // Progress of a call may come besides.
        assert!(answers <= 64 * (lines + 2), "{answers} answers to {lines} lines");
    });
});
