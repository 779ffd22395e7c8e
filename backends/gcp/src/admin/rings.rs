//! Key rings. They are never deleted, and cost nothing.

use envelope_sdk::{
    ProviderError,
    ProviderErrorKind::{Invalid, NotFound, Protocol},
    key_uri::gcp::CryptoKeyName,
    registry::MissingSetting,
};
use google_cloud_kms_v1::model::KeyRing;

use super::{CREATE_RING, GET_RING, LIST_RINGS, OTHER_PLACE, PAGE, Pages};
use crate::{
    GcpKms,
    call::Within,
    error::{NAME, failure, unsure},
    reach::Settled,
};

impl GcpKms {
    /// Makes a key ring, by its resource name `projects/P/locations/L/keyRings/R`.
    /// Whether one of that name was made is the same to whoever wants it: one that
    /// is there is no error. A key ring is never deleted.
    ///
    /// # Errors
    ///
    /// [`Invalid`] for a name that is none; what KMS says (cloudkms.keyRings.create).
    pub async fn create_key_ring(&self, name: &str) -> Result<(), ProviderError> {
        check_ring(name)?;
        let (location, id) = name.split_once("/keyRings/").unwrap_or_default();
        let Settled { client, limits } = self.settled().await?;
        let call =
            client.create_key_ring().set_parent(location).set_key_ring_id(id).set_key_ring(KeyRing::new());
        match limits.once(call).send().until(limits.deadline()).await {
            Ok(made) if made.name == name => Ok(()),
            Ok(_) => Err(failure(Protocol, None, OTHER_PLACE)),
            Err(failed) if failed.is_taken() => Ok(()),
            Err(failed) => {
                let refused = self.refused(CREATE_RING, None, &failed);
                if !failed.may_be_done() {
                    return Err(refused);
                }
                match self.has_key_ring(name).await {
                    Ok(true) => Ok(()),
                    _ => Err(unsure(&refused, "ask for it again, which makes no second one")),
                }
            }
        }
    }

    /// Whether there is a key ring of that resource name.
    ///
    /// # Errors
    ///
    /// [`Invalid`] for a name that is none; what KMS says (cloudkms.keyRings.get).
    pub async fn has_key_ring(&self, name: &str) -> Result<bool, ProviderError> {
        check_ring(name)?;
        let Settled { client, limits } = self.settled().await?;
        let call = limits.again(client.get_key_ring().set_name(name));
        match call.send().until(limits.deadline()).await {
            Ok(ring) if ring.name == name => Ok(true),
            Ok(_) => Err(failure(Protocol, None, OTHER_PLACE)),
            Err(failed) => match self.refused(GET_RING, None, &failed) {
                error if error.kind() == NotFound => Ok(false),
                error => Err(error),
            },
        }
    }

    /// The resource names of the key rings of a location, `projects/P/locations/L`.
    ///
    /// # Errors
    ///
    /// [`Invalid`] for a name that is none; what KMS says (cloudkms.keyRings.list).
    pub async fn key_rings(&self, location: &str) -> Result<Vec<String>, ProviderError> {
        if !is_ring(&format!("{location}/keyRings/r")) {
            return Err(failure(Invalid, None, "a location is named projects/P/locations/L"));
        }
        let Settled { client, limits } = self.settled().await?;
        let (mut rings, mut pages, mut page) = (Vec::new(), Pages::default(), String::new());
        loop {
            let call = client.list_key_rings().set_parent(location).set_page_size(PAGE);
            let call = limits.again(call.set_page_token(page));
            let listed = call.send().until(limits.deadline()).await;
            let listed = listed.map_err(|failed| self.refused(LIST_RINGS, None, &failed))?;
            let beside = |ring: &KeyRing| {
                is_ring(&ring.name)
                    && ring.name.split_once("/keyRings/").is_some_and(|(at, _)| at == location)
            };
            if !listed.key_rings.iter().all(beside) {
                return Err(failure(Protocol, None, OTHER_PLACE));
            }
            rings.extend(listed.key_rings.into_iter().map(|ring| ring.name));
            match pages.turn(listed.next_page_token, None)? {
                Some(next) => page = next,
                None => return Ok(rings),
            }
        }
    }

    /// The key ring of the settings.
    pub(super) fn the_key_ring(&self) -> Result<&str, ProviderError> {
        let Some(ring) = self.key_ring() else {
            let message = "no key ring is configured, in which keys are made and listed: set \
                           projects/P/locations/L/keyRings/R";
            return Err(failure(Invalid, None, message).with_source(MissingSetting::new(NAME, "key-ring")));
        };
        check_ring(ring)?;
        Ok(ring)
    }
}

pub(super) fn check_ring(key_ring: &str) -> Result<(), ProviderError> {
    if is_ring(key_ring) {
        return Ok(());
    }
    let message = "a key ring is named projects/P/locations/L/keyRings/R: correct key-ring in the settings";
    Err(failure(Invalid, None, message))
}

fn is_ring(name: &str) -> bool {
    CryptoKeyName::parse(&format!("{name}/cryptoKeys/k")).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_ring_has_a_full_name() {
        assert!(is_ring("projects/p/locations/global/keyRings/r"));
        for bad in [
            "",
            "r",
            "projects/p/locations/global/keyRings/",
            "projects/p/locations/global/keyRings/r/",
            "projects/p/locations/global/keyRings/r/cryptoKeys/k",
            "projects/p/locations/global/keyRings/r?x",
        ] {
            assert!(!is_ring(bad), "{bad}");
        }
    }
}
