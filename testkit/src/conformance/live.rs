//! [`TwoKeys`]: keys of a service itself, for a run that costs money.

use std::{
    io::{self, Write as _},
    sync::Arc,
    time::SystemTime,
};

use envelope_sdk::{KeyProvider, KeyUri, ProviderError};

use super::{Backend, Subject, Task};

/// Two keys, which are removed however the suite ends. The suite shall not change them: a cloud
/// takes minutes until everyone knows of a change, and makes few keys a minute.
///
/// What is made and removed is written to standard output, past the capture of the test harness:
/// `made: URI`, then `removed: URI`. `scripts/live` tells by it what is left behind.
pub struct TwoKeys {
    provider: Arc<dyn KeyProvider>,
    keys: Vec<KeyUri>,
    unknown: String,
    remove: Box<Remove>,
    run: fn(Task<'_>),
}

type Remove = dyn Fn(&KeyUri) -> Result<(), ProviderError> + Send + Sync;

impl TwoKeys {
    /// Makes them by `make`, of names that begin with `prefix`, one of its own for each run; they are removed by `remove`.
    /// `unknown` is what stands in place of a key's last part in the URI of a key that is not there. `run` runs a future to its end.
    ///
    /// # Panics
    ///
    /// If a key cannot be made.
    pub fn make(
        provider: Arc<dyn KeyProvider>,
        prefix: &str,
        unknown: &str,
        run: fn(Task<'_>),
        make: impl Fn(String) -> Result<KeyUri, ProviderError>,
        remove: impl Fn(&KeyUri) -> Result<(), ProviderError> + Send + Sync + 'static,
    ) -> Self {
        let (unknown, remove) = (unknown.to_owned(), Box::new(remove));
        let mut made = Self { provider, keys: Vec::new(), unknown, remove, run };
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        for number in ["one", "two"] {
            let name = format!("{prefix}{}-{number}", since_1970.as_micros());
            // Also if its answer is lost, there is a name to look for.
            tell("making", &name);
            match make(name) {
                Ok(key) => {
                    tell("made", key.as_str());
                    made.keys.push(key);
                }
                #[expect(
                    clippy::panic,
                    reason = "a test that cannot go on says so, and what was made is removed"
                )]
                Err(error) => panic!("{error}"),
            }
        }
        made
    }

    /// The two.
    #[must_use]
    pub fn keys(&self) -> &[KeyUri] {
        &self.keys
    }
}

impl Drop for TwoKeys {
    fn drop(&mut self) {
        for key in &self.keys {
            match (self.remove)(key) {
                Ok(()) => tell("removed", key.as_str()),
                // The script sees what is missing; the next key may be removed.
                Err(error) => tell(&format!("left behind, {error}"), key.as_str()),
            }
        }
    }
}

impl Backend for TwoKeys {
    fn subject(&self) -> Subject {
        Subject::new(Arc::clone(&self.provider), self.keys[0].clone())
    }

    fn other_subject(&self) -> Subject {
        Subject::new(Arc::clone(&self.provider), self.keys[1].clone())
    }

    fn unknown_key(&self) -> Option<KeyUri> {
        let (place, _) = self.keys[0].as_str().rsplit_once('/')?;
        KeyUri::parse(&format!("{place}/{}", self.unknown)).ok()
    }

    fn block_on(&self, task: Task<'_>) {
        (self.run)(task);
    }
}

fn tell(what: &str, which: &str) {
    // Where standard output is closed, nobody reads it.
    let _ = io::stdout().write_all(format!("{what}: {which}\n").as_bytes());
}
