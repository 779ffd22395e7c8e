//! Real servers under the tests.
//!
//! `scripts/with-servers` starts them and says in the environment where they
//! are. A test asks [`address`] and returns when there is none: it is then
//! reported as skipped, by name, or fails where servers are required.

use std::{env, io::Write as _, thread};

/// The value of `ENVELOPE_TEST_NAME`, such as the address of a server or the
/// path of a module.
///
/// Without it, writes `skipped: TEST: no NAME` to standard error, past the
/// capture of the test harness, and returns `None`: the test returns then.
///
/// # Panics
///
/// When there is none and `REQUIRE_SERVERS=1`, so that the test fails.
#[must_use]
#[expect(clippy::panic, reason = "the test shall fail")]
pub fn address(name: &str) -> Option<String> {
    let variable = format!("ENVELOPE_TEST_{name}");
    if let Some(address) = env::var(&variable).ok().filter(|address| !address.is_empty()) {
        return Some(address);
    }
    if env::var_os("REQUIRE_SERVERS").is_some_and(|required| required == "1") {
        panic!("REQUIRE_SERVERS=1, and ${variable} is not set: run this under scripts/with-servers");
    }
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("skipped: {test}: ${variable} is not set; scripts/with-servers sets it\n");
    // Where standard error is closed, nobody reads it.
    let _ = std::io::stderr().write_all(line.as_bytes());
    None
}
