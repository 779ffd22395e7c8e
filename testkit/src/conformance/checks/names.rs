//! What a configured key means, and which provider it is.

use std::sync::Arc;

use envelope_sdk::{KeyProvider, ProviderErrorKind};

use super::super::{
    Backend, Outcome, Subject,
    ask::{context, decide, fails, fresh_dek, must_resolve, must_wrap, not_run, rewrap, told, wait},
};
use crate::FaultProvider;

/// Asks what the configured key means, and what the answer means: the same, a key
/// of the same scheme, and the one that a wrap names.
#[must_use]
pub fn resolving_a_key_is_final_and_stays_in_its_scheme(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let Subject { provider, key } = &backend.subject();
        let meant = must_resolve(backend, provider, key)?;
        if meant.scheme() != key.scheme() {
            return fails(format!("{key} means a key of another scheme, {meant}"));
        }
        if !meant.is_resolved() {
            return fails(format!("{key} means {meant}, which is itself an alias or short form"));
        }
        let again = must_resolve(backend, provider, &meant)?;
        if again != meant {
            return fails(format!("{key} means {meant}, and that means {again}"));
        }
        let wrapped =
            must_wrap(backend, &Subject::new(provider.clone(), key.clone()), &fresh_dek(), &context())?;
        if !provider.is_same_key(&meant, wrapped.key_uri()) {
            return fails(format!("{key} means {meant}, and its wrap names {}", wrapped.key_uri()));
        }
        Ok(())
    })
}

/// Asks for the identity several times, behind pointers and behind a decorator:
/// it is one and the same. [Another instance](Backend::another_instance) has
/// another one.
///
/// Not run where the provider leaves rewrapping to the caller and has no
/// identity: it needs none.
#[must_use]
pub fn a_provider_that_rewraps_has_an_identity_of_its_own(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let subject = backend.subject();
        let provider = &subject.provider;
        let Some(identity) = provider.identity() else {
            let wrapped = must_wrap(backend, &subject, &fresh_dek(), &context())?;
            return match rewrap(backend, &subject, &wrapped, &context())? {
                Ok(None) => not_run("the provider leaves rewrapping to the caller, and needs no identity"),
                Ok(Some(_)) => fails("it rewraps and has no identity: a keyring never uses that"),
                Err(error) => fails(format!("rewrapping failed: {}", told(&error))),
            };
        };
        let others: [(&str, Box<dyn KeyProvider>); 4] = [
            ("the provider, asked again", Box::new(Arc::clone(provider))),
            ("a pointer to it", Box::new(Arc::new(Arc::clone(provider)))),
            ("a decorator of it", Box::new(FaultProvider::new(Arc::clone(provider)))),
            ("a decorator of a decorator", {
                let inner = FaultProvider::new(Arc::clone(provider));
                Box::new(FaultProvider::new(Arc::new(inner)))
            }),
        ];
        for (what, other) in others {
            if other.identity() != Some(identity) {
                return fails(format!("{what} has another identity"));
            }
        }
        match backend.another_instance() {
            Some(other) if other.identity() == Some(identity) => {
                fails("another instance has the same identity: what one may open, the other may encrypt for")
            }
            _ => Ok(()),
        }
    })
}

/// Asks for what needs no key store, directly and behind pointers: name,
/// `generates_deks`, `context_binding`, `is_same_key`, and the key it means.
/// Twice, since nothing of it may depend on how often it is asked.
#[must_use]
pub fn a_provider_behind_a_pointer_answers_as_itself(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let subject = backend.subject();
        let wrapped = must_wrap(backend, &subject, &fresh_dek(), &context())?;
        let answers = |provider: &dyn KeyProvider| {
            [
                ("name", format!("{:?}", provider.name())),
                ("generates_deks", format!("{:?}", provider.generates_deks(&subject.key))),
                ("context_binding", format!("{:?}", provider.context_binding(&wrapped))),
                ("is_same_key", format!("{:?}", provider.is_same_key(&subject.key, wrapped.key_uri()))),
            ]
        };
        let pointer: Arc<dyn KeyProvider> = Arc::new(Arc::clone(&subject.provider));
        let boxed: Box<dyn KeyProvider> = Box::new(Arc::clone(&subject.provider));
        let own = answers(&*subject.provider);
        let pointers: [(&str, &dyn KeyProvider); 3] =
            [("asked again", &*subject.provider), ("behind an Arc", &pointer), ("behind a Box", &boxed)];
        for (what, provider) in pointers {
            for ((method, own), (_, answer)) in own.iter().zip(answers(provider)) {
                if *own != answer {
                    return fails(format!("{method} is {own}, and {answer} {what}"));
                }
            }
            let meant =
                [&*subject.provider, provider].map(|provider| must_resolve(backend, provider, &subject.key));
            let [own, meant] = meant;
            let (own, meant) = (own?, meant?);
            if own != meant {
                return fails(format!("{} means {own}, and {meant} {what}", subject.key));
            }
        }
        Ok(())
    })
}

/// Asks what [`Backend::unknown_key`] means: itself, where that takes no call to
/// the key store, or that there is no such key.
#[must_use]
pub fn an_unknown_key_means_itself_or_is_not_found(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let Some(unknown) = backend.unknown_key() else {
            return not_run("the backend names no unknown key");
        };
        let subject = backend.subject();
        match wait(backend, subject.provider.resolve(&unknown))? {
            Ok(meant) if meant == unknown || !unknown.is_resolved() => Ok(()),
            Ok(meant) => fails(format!("{unknown}, which there is not, means {meant}")),
            Err(error)
                if matches!(error.kind(), ProviderErrorKind::NotFound | ProviderErrorKind::AccessDenied) =>
            {
                Ok(())
            }
            Err(error) => fails(format!("the error must be of kind NotFound, not {}", told(&error))),
        }
    })
}
