//! Running checks and telling what became of each.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::Backend;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Holds,
    /// The backend cannot be checked for it, and why.
    NotRun(String),
    /// It does not hold, and what was seen.
    Fails(String),
}

/// One check: its name, which is what must hold, and its function.
pub type Check = (&'static str, fn(&dyn Backend) -> Outcome);

/// What became of every check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Report {
    /// The checks that hold.
    pub holds: Vec<&'static str>,
    /// The checks that were not run, and why.
    pub not_run: Vec<(&'static str, String)>,
    /// The checks that fail, and what was seen.
    pub failures: Vec<Failure>,
}

/// A check that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What must hold: the name of the function that checks it.
    pub check: &'static str,
    /// What was seen instead.
    pub seen: String,
}

impl Report {
    /// Prints the report to standard output and panics if a check failed.
    ///
    /// # Panics
    ///
    /// When a check failed, with every failure.
    #[expect(clippy::print_stdout, reason = "this is how a test speaks")]
    pub fn assert_conforms(&self) {
        println!("{self}");
        assert!(self.failures.is_empty(), "it does not conform:\n{self}");
    }

    /// As [`assert_conforms`](Self::assert_conforms) for a server that is known
    /// to fail these checks, each with the reason. They must still fail: a server
    /// that learned better is no longer excepted.
    ///
    /// # Panics
    ///
    /// When another check failed, or one of these holds.
    pub fn assert_conforms_except(&self, known: &[(&str, &str)]) {
        let mut rest = self.clone();
        rest.failures.retain(|failure| known.iter().all(|(check, _)| *check != failure.check));
        rest.assert_conforms();
        for (check, reason) in known {
            assert!(self.fails(check), "{check} holds now, and is excepted because: {reason}");
        }
    }

    /// Whether this check failed.
    #[must_use]
    pub fn fails(&self, check: &str) -> bool {
        self.failures.iter().any(|failure| failure.check == check)
    }

    /// Whether this check was run and holds.
    #[must_use]
    pub fn holds(&self, check: &str) -> bool {
        self.holds.contains(&check)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.holds {
            writeln!(f, "holds    {check}")?;
        }
        for (check, reason) in &self.not_run {
            writeln!(f, "not run  {check}: {reason}")?;
        }
        for Failure { check, seen } in &self.failures {
            writeln!(f, "FAILS    {check}: {seen}")?;
        }
        Ok(())
    }
}

/// Runs checks, each a name and a function, one after the other.
pub(super) fn run<C: FnOnce() -> Outcome>(checks: impl Iterator<Item = (&'static str, C)>) -> Report {
    let mut report = Report::default();
    for (check, function) in checks {
        match catch_unwind(AssertUnwindSafe(function)) {
            Ok(Outcome::Holds) => report.holds.push(check),
            Ok(Outcome::NotRun(reason)) => report.not_run.push((check, reason)),
            Ok(Outcome::Fails(seen)) => report.failures.push(Failure { check, seen }),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
                report.failures.push(Failure { check, seen: format!("panicked: {text}") });
            }
        }
    }
    report
}
