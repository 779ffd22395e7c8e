//! Import jobs, by which key material of one's own comes to KMS
//! (<https://cloud.google.com/kms/docs/importing-a-key>): shown, not made.

use envelope_sdk::{
    ProviderError,
    ProviderErrorKind::Protocol,
    admin::{Detail, Details},
};
use google_cloud_kms_v1::model::{ImportJob, import_job::ImportJobState};

use super::{GET_IMPORT, LIST_IMPORTS, OTHER_PLACE, PAGE, Pages, rings::check_ring, version::seconds};
use crate::{GcpKms, Protection, call::Within, error::failure, reach::Settled};

/// What Cloud KMS tells of an import job. No key material.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GcpImportJob {
    /// Its resource name.
    pub name: String,
    /// Its state in the words of KMS: `PENDING_GENERATION`, `ACTIVE` or `EXPIRED`.
    pub state: String,
    /// Whether material can be imported by it now.
    pub active: bool,
    /// How material is wrapped for it, such as `RSA_OAEP_4096_SHA256_AES_256`.
    pub method: String,
    /// Where imported material will be.
    pub protection: Option<Protection>,
    /// When it was made, in seconds since 1970-01-01T00:00:00Z.
    pub created: Option<u64>,
    /// When it expires, or expired.
    pub expires: Option<u64>,
}

impl GcpImportJob {
    /// `None` when it is none of that key ring.
    fn of(ring: &str, job: ImportJob) -> Option<Self> {
        let id = job.name.strip_prefix(ring)?.strip_prefix("/importJobs/")?;
        if id.is_empty() || id.contains('/') {
            return None;
        }
        Some(Self {
            active: job.state == ImportJobState::Active,
            state: job.state.name().unwrap_or("UNKNOWN").to_owned(),
            method: job.import_method.name().unwrap_or("UNKNOWN").to_owned(),
            protection: Protection::of(&job.protection_level),
            created: job.create_time.and_then(seconds),
            expires: job.expire_event_time.or(job.expire_time).and_then(seconds),
            name: job.name,
        })
    }

    pub(super) fn details(&self) -> Details {
        Details::new()
            .with("name", self.name.as_str())
            .with("state", self.state.as_str())
            .with("method", self.method.as_str())
            .with("protection", self.protection.map(Protection::name))
            .with("expires", self.expires.map(Detail::Time))
    }
}

impl GcpKms {
    /// The import jobs of a key ring, by its resource name.
    ///
    /// # Errors
    ///
    /// [`Invalid`](envelope_sdk::ProviderErrorKind::Invalid) for a name that is none; what KMS says (cloudkms.importJobs.list).
    pub async fn import_jobs(&self, key_ring: &str) -> Result<Vec<GcpImportJob>, ProviderError> {
        check_ring(key_ring)?;
        let Settled { client, limits } = self.settled().await?;
        let (mut jobs, mut pages, mut page) = (Vec::new(), Pages::default(), String::new());
        loop {
            let call = client.list_import_jobs().set_parent(key_ring).set_page_size(PAGE);
            let call = limits.again(call.set_page_token(page));
            let listed = call.send().until(limits.deadline()).await;
            let listed = listed.map_err(|failed| self.refused(LIST_IMPORTS, None, &failed))?;
            for job in listed.import_jobs {
                let job = GcpImportJob::of(key_ring, job);
                jobs.push(job.ok_or_else(|| failure(Protocol, None, OTHER_PLACE))?);
            }
            match pages.turn(listed.next_page_token, None)? {
                Some(next) => page = next,
                None => return Ok(jobs),
            }
        }
    }

    pub(super) async fn import_job_in(&self, ring: &str, job: &str) -> Result<GcpImportJob, ProviderError> {
        let Settled { client, limits } = self.settled().await?;
        let call = limits.again(client.get_import_job().set_name(job));
        let told = call.send().until(limits.deadline()).await;
        let told = told.map_err(|failed| self.refused(GET_IMPORT, None, &failed))?;
        let told = GcpImportJob::of(ring, told).filter(|told| told.name == job);
        told.ok_or_else(|| failure(Protocol, None, OTHER_PLACE))
    }
}
