//! What an [`Observer`] is told.

use std::{fmt, time::Duration};

use envelope_sdk::{FullContext, KeyUri, ProviderError};

use crate::events::{KIND_NAMES, kind_index, kind_name};

/// Hears of each call. It must not block: it runs where the call does, and whatever it takes the call takes longer.
pub trait Observer: Send + Sync {
    /// A call begins. Nothing is done by default.
    fn started(&self, call: &Call<'_>) {
        let _ = call;
    }

    /// A call has ended after `took`, or was dropped. `outcomes` has one for each of the call's
    /// [subjects](Call::subjects), unless the provider gave fewer answers than it was asked for.
    fn ended(&self, call: &Call<'_>, outcomes: &[Outcome<'_>], took: Duration);
}

/// One call of a provider, or of who manages its keys.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Call<'a> {
    /// Tells this call from the others of this process. The attempts of a call have its number. Where several
    /// callers wait for one attempt, it has the number of the one that began it.
    pub id: u64,
    /// Whether it is what the program asked for, or what the provider is asked.
    pub stage: Stage,
    /// What is to be done.
    pub operation: Operation,
    /// The [name](envelope_sdk::KeyProvider::name) of the provider.
    pub provider: &'static str,
    /// Which repetition it is, counted from 1. Always 1 for a [`Stage::Call`].
    pub attempt: u32,
    /// The envelope, inside of [`about_envelope`](crate::about_envelope).
    pub envelope: Option<[u8; 16]>,
    /// What it is about: one, but for [`Operation::UnwrapDeks`], which has one for each wrap, and
    /// [`Operation::RewrapDek`], which has the old wrap and then the new key.
    pub subjects: &'a [Subject<'a>],
}

/// One key or wrap that a call is about.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Subject<'a> {
    /// The key as it was named: by the wrap, or by whoever configured it. `None` for what is about no key, such as
    /// a list of keys.
    pub key: Option<&'a KeyUri>,
    /// The version that the wrap names; it may be empty. `None` where none is named.
    pub version: Option<&'a str>,
    pub(super) context: Option<&'a FullContext>,
    pub(super) shown: &'a [String],
}

impl<'a> Subject<'a> {
    /// The names of the context's entries, in ascending order, and the values of those that were
    /// [allowed](crate::Observe::show_value).
    pub fn context(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        let shown = self.shown;
        let entries = self.context.into_iter().flat_map(FullContext::entries);
        entries.map(move |(name, value)| (name, shown.iter().any(|shown| shown == name).then_some(value)))
    }
}

/// Without the values of the context.
impl fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, version, .. } = self;
        f.debug_struct("Subject").field("key", key).field("version", version).finish_non_exhaustive()
    }
}

/// Where in a stack a call is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Outermost: what the program asked for.
    Call,
    /// Innermost: what the provider is asked.
    Attempt,
}

/// What came of a subject of a call.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Outcome<'a> {
    /// It was done, with this key and version where the answer names them: for an alias, the key behind it.
    Done {
        /// The key.
        key: Option<&'a KeyUri>,
        /// Its version.
        version: Option<&'a str>,
    },
    /// The provider has no such call, and the caller goes another way: [`Operation::RewrapDek`] only.
    NotOffered,
    /// It failed.
    Failed(&'a ProviderError),
    /// The caller dropped the call before it had ended: whether the key store did it is not known.
    Dropped,
}

impl<'a> Outcome<'a> {
    pub(super) fn of(said: Result<(Option<&'a KeyUri>, Option<&'a str>), &'a ProviderError>) -> Self {
        match said {
            Ok((key, version)) => Self::Done { key, version },
            Err(error) => Self::Failed(error),
        }
    }

    /// `ok`, `not_offered`, `dropped`, or the kind of the error: `unauthentic`, `not_found`, `access_denied`, `state`,
    /// `unavailable`, `throttled`, `unsupported`, `protocol`, `invalid`, `other`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Done { .. } => "ok",
            Self::NotOffered => "not_offered",
            Self::Failed(error) => kind_name(error.kind()),
            Self::Dropped => "dropped",
        }
    }

    /// Its place among all of its names, of which there are [`OUTCOMES`].
    pub(super) fn index(&self) -> usize {
        match self {
            Self::Done { .. } => 0,
            Self::NotOffered => 1,
            Self::Dropped => 2,
            Self::Failed(error) => 3 + kind_index(error.kind()),
        }
    }

    /// Whether it was not done, for whatever reason but that the provider has no such call.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Dropped)
    }
}

/// What a call is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "named after the methods of KeyProvider and KeyAdmin")]
pub enum Operation {
    Resolve,
    WrapDek,
    UnwrapDek,
    UnwrapDeks,
    GenerateDek,
    RewrapDek,
    CreateKey,
    DescribeKey,
    ListKeys,
    RotateKey,
    ChangeKey,
    SetNotAfter,
    SetRotation,
    RotationStatus,
    SetAlias,
    RestoreKey,
    /// Any `check_…` of [`KeyAdmin`](envelope_sdk::KeyAdmin): whether the change would be refused.
    Check,
}

impl Operation {
    /// The name of the method: `wrap_dek`, `unwrap_deks`, …; `check`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::WrapDek => "wrap_dek",
            Self::UnwrapDek => "unwrap_dek",
            Self::UnwrapDeks => "unwrap_deks",
            Self::GenerateDek => "generate_dek",
            Self::RewrapDek => "rewrap_dek",
            Self::CreateKey => "create_key",
            Self::DescribeKey => "describe_key",
            Self::ListKeys => "list_keys",
            Self::RotateKey => "rotate_key",
            Self::ChangeKey => "change_key",
            Self::SetNotAfter => "set_not_after",
            Self::SetRotation => "set_rotation",
            Self::RotationStatus => "rotation_status",
            Self::SetAlias => "set_alias",
            Self::RestoreKey => "restore_key",
            Self::Check => "check",
        }
    }
}

/// How many names an [`Outcome`] may have.
pub(super) const OUTCOMES: usize = 3 + KIND_NAMES.len();
/// How many there are.
pub(super) const OPERATIONS: usize = Operation::Check as usize + 1;
