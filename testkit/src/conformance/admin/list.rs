//! New keys, and the list of all.

use envelope_sdk::{
    KeyState,
    ProviderErrorKind::{Invalid, NotFound},
    admin::KeyPage,
    http::MAX_PAGES,
};

use super::super::{
    Outcome,
    ask::{decide, fails, must_refuse, wait},
};
use super::AdminBackend;
use super::ask::{must, must_be_told_well, must_create, must_describe, must_list, must_use};

/// Makes a key: it is active with one active version, described in the same words
/// as when it was made, in the list, and wraps and unwraps. Before that, the check
/// permits it.
#[must_use]
pub fn a_created_key_is_described_listed_and_used(backend: &dyn AdminBackend) -> Outcome {
    decide(|| {
        let (admin, provider) = (backend.admin(), backend.provider());
        if admin.provider() != provider.name() {
            return fails(format!(
                "the provider's name is {}, and not {}",
                provider.name(),
                admin.provider()
            ));
        }
        let new = backend.new_key();
        must("the check of a new key", wait(backend, admin.check_new_key(&new))?)?;
        let created = must_create(backend, &new)?;
        let described = must_describe(backend, &created.uri)?;
        for (when, told) in [("when it was made", &created), ("afterwards", &described)] {
            if told.state != KeyState::Active || told.archived {
                return fails(format!("{when}, the new key is {}, archived: {}", told.state, told.archived));
            }
            if told.versions.len() != 1 || told.versions[0].state != KeyState::Active {
                return fails(format!("{when}, the new key has the versions {:?}", told.versions));
            }
            if !told.uri.is_resolved() {
                return fails(format!("{when}, the new key is told by an alias, {}", told.uri));
            }
        }
        if (&created.uri, &created.versions) != (&described.uri, &described.versions) {
            return fails(format!("it was made as {created:?}, and described as {described:?}"));
        }
        if !must_list(backend)?
            .iter()
            .any(|listed| listed.uri == created.uri && listed.state == created.state)
        {
            return fails(format!("the new key {} is not in the list of all keys", created.uri));
        }
        let wrapped = must_use(backend, &created.uri)?;
        let version = &created.versions[0].version;
        if wrapped.key_version() != version {
            return fails(format!("its version is {version}, and its wraps name {}", wrapped.key_version()));
        }
        Ok(())
    })
}

/// Makes three keys and takes page after page: each key is there once, no page is
/// named twice, and the list ends. A page that is asked for again has the same keys.
/// What is no page of this key store is refused.
#[must_use]
pub fn a_list_has_every_key_once_and_knows_its_own_pages_alone(backend: &dyn AdminBackend) -> Outcome {
    decide(|| {
        let admin = backend.admin();
        let mut made = Vec::new();
        for _ in 0..3 {
            made.push(must_create(backend, &backend.new_key())?.uri);
        }
        let (mut listed, mut pages) = (Vec::new(), Vec::<String>::new());
        loop {
            let page = pages.last().map(String::as_str);
            let next = must("listing keys", wait(backend, admin.list_keys(page))?)?;
            let again = must("listing keys again", wait(backend, admin.list_keys(page))?)?;
            let uris = |page: &KeyPage| page.keys.iter().map(|key| key.uri.clone()).collect::<Vec<_>>();
            if uris(&next) != uris(&again) {
                return fails(format!(
                    "the page {page:?} of the list is another one when it is asked for again"
                ));
            }
            listed.extend(uris(&next));
            let Some(token) = next.next else { break };
            if pages.contains(&token) || pages.len() == MAX_PAGES {
                return fails("the list comes back to a page that was told before, and does not end");
            }
            pages.push(token);
        }
        for key in &made {
            let times = listed.iter().filter(|listed| *listed == key).count();
            if times != 1 {
                return fails(format!("{key} is {times} times in the list"));
            }
        }
        for foreign in ["conformance-suite: no page of yours", "", "\u{0}ÿ"] {
            let outcome = wait(backend, admin.list_keys(Some(foreign)))?;
            let what = format!("the foreign page {foreign:?}");
            let error = must_refuse(&what, outcome, &[Invalid, NotFound])?;
            must_be_told_well(backend, &what, None, &error)?;
        }
        Ok(())
    })
}
