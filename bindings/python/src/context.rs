//! Encryption contexts of Python.

use envelope_sdk::EncryptionContext;

/// The entries of a context: name, value, and whether it is withheld. The Python side makes them of a mapping.
pub(crate) type Entries = Vec<(String, String, bool)>;

/// The context of these entries.
pub(crate) fn context(entries: Entries) -> EncryptionContext {
    entries.into_iter().fold(EncryptionContext::new(), |context, (name, value, is_withheld)| {
        if is_withheld { context.withhold(name, value) } else { context.with(name, value) }
    })
}
