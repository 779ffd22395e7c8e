//! [`Runner`]: envelopes brought to other keys, by paths and URLs, one by one, or in memory.

mod bytes;
mod exactly;
mod goal;
mod outcome;
mod record;
mod sources;
mod watch;

use std::{ffi::OsString, path::PathBuf, sync::Arc};

use envelope_providers::Providers as Opened;
use envelope_rotation::{Checkpoint, Control, Goal, ItemReport, Job, KeyStores, Prices, Shard, Source};
use futures_util::StreamExt;
use pyo3::{prelude::*, types::PyBytes};
use serde_json::Value;

use crate::{
    aside::Aside,
    context::{Entries, context},
    data::Data,
    failure::{Failure, Result, raised},
    providers::{Providers, Shared},
    run::wait,
};

pub(crate) use bytes::Bytes;
pub(crate) use goal::Wanted;
use outcome::Told;
pub(crate) use outcome::with_failure;
pub(crate) use record::Recorder;

/// What shall become of envelopes. The limit of calls, what is kept for headers that share a wrap, and the count of calls are of
/// the whole life of one.
#[pyclass(frozen, module = "envelope_sdk._envelope_sdk")]
pub(crate) struct Runner {
    goal: Aside<Goal>,
    key_stores: KeyStores,
    concurrency: usize,
    rate: Option<u32>,
    reencrypts: bool,
    providers: Arc<Aside<Shared>>,
    /// Key stores of its own, where something stands over them.
    own: Aside<Option<Opened>>,
}

#[pymethods]
impl Runner {
    #[new]
    #[pyo3(signature = (providers, to, from_, add, remove, reencrypt, older_than, entries, concurrency, rate))]
    #[allow(clippy::too_many_arguments, reason = "the Python side names them")]
    fn new(
        py: Python<'_>,
        providers: PyRef<'_, Providers>,
        to: Vec<String>,
        from_: Vec<String>,
        add: Vec<String>,
        remove: Vec<String>,
        reencrypt: bool,
        older_than: Option<f64>,
        entries: Entries,
        concurrency: usize,
        rate: Option<u32>,
    ) -> PyResult<Self> {
        let providers = providers.shared();
        let wanted = Wanted { to, from: from_, add, remove, reencrypt, older_than };
        Ok(py.detach(|| -> Result<Self> {
            let key_stores = match rate {
                Some(rate) => KeyStores::new().calls_per_second(rate),
                None => KeyStores::new(),
            };
            let own = providers.for_job(&key_stores)?;
            // Where nothing may refuse or writes down, the job stands over the key stores as they are.
            let over = own.is_none().then_some(&key_stores);
            let opened = match &own {
                Some(own) => own,
                None => providers.opened()?,
            };
            let goal = wanted.goal(opened, over)?.with_context(context(entries));
            let reencrypts = wanted.reencrypt;
            let (goal, own) = (Aside::new(goal), Aside::new(own));
            Ok(Self { goal, key_stores, concurrency, rate, reencrypts, providers, own })
        })?)
    }

    /// Says what a run would do: a plan in JSON.
    fn plan(
        &self,
        py: Python<'_>,
        paths: Vec<PathBuf>,
        shard: Option<(u64, u64)>,
        on_item: Option<Py<PyAny>>,
    ) -> PyResult<String> {
        let told = Told::new(on_item, None);
        let shard = shard_of(shard)?;
        Ok(py.detach(|| -> Result<String> {
            let job = self.job(sources::open(&paths, false)?)?.shard(shard);
            let control = Control::new();
            let plan =
                told.listen(&control, |on_item| watch::until_done(&control, job.plan(&control, on_item)))?;
            let estimates = Prices::builtin().estimate(&plan.calls, self.rate);
            let mut value = json_of(&plan)?;
            if let Value::Object(plan) = &mut value {
                plan.insert("estimates".into(), json_of(&estimates)?);
            }
            Ok(value.to_string())
        })?)
    }

    /// Runs a job: its report in JSON.
    fn run(
        &self,
        py: Python<'_>,
        paths: Vec<PathBuf>,
        resume: Option<PathBuf>,
        shard: Option<(u64, u64)>,
        on_item: Option<Py<PyAny>>,
    ) -> PyResult<String> {
        let shard = shard_of(shard)?;
        let told = Told::new(on_item, self.recorder()?);
        Ok(py.detach(|| -> Result<String> {
            let mut job = self.job(sources::open(&paths, true)?)?.shard(shard);
            if let Some(path) = &resume {
                job = job.checkpoint(Checkpoint::open(path)?);
            }
            let control = Control::new();
            let report =
                told.listen(&control, |on_item| watch::until_done(&control, job.run(&control, on_item)))?;
            Ok(json_of(&report)?.to_string())
        })?)
    }

    /// Does exactly these items, and tells what became of each.
    fn run_items(&self, py: Python<'_>, items: Vec<OsString>) -> PyResult<Vec<outcome::Outcome>> {
        let recorder = self.recorder()?;
        Ok(py.detach(|| {
            exactly::run(&items, |source| {
                let job = self.job(source)?;
                self.outcomes(job, recorder.clone(), &mut None)
            })
        })?)
    }

    /// Does exactly this item. What failed with it is raised.
    fn run_one(&self, py: Python<'_>, item: OsString) -> PyResult<outcome::Outcome> {
        let recorder = self.recorder()?;
        Ok(py.detach(|| {
            let mut failure = None;
            let done = exactly::run(&[item], |source| {
                let job = self.job(source)?;
                self.outcomes(job, recorder.clone(), &mut failure)
            })?;
            match failure {
                Some(failure) => Err(failure),
                None => done.into_iter().next().ok_or_else(not_reached),
            }
        })?)
    }

    /// Does these envelopes in memory: what became of each, and its bytes where they changed.
    fn run_envelopes<'py>(
        &self,
        py: Python<'py>,
        envelopes: Vec<Data>,
    ) -> PyResult<Vec<(outcome::Outcome, Option<Bound<'py, PyBytes>>)>> {
        let recorder = self.recorder()?;
        let done = py.detach(|| -> Result<_> {
            let count = envelopes.len();
            let source = Arc::new(Bytes::new(envelopes));
            let job = self.job(Arc::clone(&source) as Arc<dyn Source>)?;
            let mut outcomes: Vec<Option<outcome::Outcome>> = (0..count).map(|_| None).collect();
            for outcome in self.outcomes(job, recorder, &mut None)? {
                if let Some(place) =
                    bytes::index(&outcome.0.to_string_lossy()).and_then(|at| outcomes.get_mut(at))
                {
                    *place = Some(outcome);
                }
            }
            let outcomes = outcomes.into_iter().map(|outcome| outcome.ok_or_else(not_reached));
            Ok(outcomes.collect::<Result<Vec<_>>>()?.into_iter().zip(source.changed()))
        })?;
        Ok(done.map(|(outcome, changed)| (outcome, changed.map(|bytes| PyBytes::new(py, &bytes)))).collect())
    }

    /// Calls to each key store so far.
    fn calls(&self) -> Vec<(&'static str, u64)> {
        self.key_stores.calls().into_iter().collect()
    }
}

impl Runner {
    fn job(&self, source: Arc<dyn Source>) -> Result<Job> {
        self.providers.opened()?;
        Ok(Job::new(source, self.goal.clone())
            .key_stores(self.key_stores.clone())
            .concurrency(self.concurrency))
    }

    /// Runs a job to its end, whatever becomes of its items. `failure`: what failed with one of them.
    fn outcomes(
        &self,
        job: Job,
        recorder: Option<Recorder>,
        failure: &mut Option<Failure>,
    ) -> Result<Vec<outcome::Outcome>> {
        let control = Control::new();
        let mut outcomes = Vec::new();
        let mut collect = |item: ItemReport| {
            if let Some(recorder) = &recorder {
                recorder.add(&item);
            }
            let (outcome, failed) = with_failure(item);
            outcomes.push(outcome);
            *failure = failure.take().or(failed);
        };
        let done = watch::until_done(&control, job.run(&control, &mut collect));
        // Also of a job that a signal ended: what it did is done.
        let recorded = recorder.map_or(Ok(()), Recorder::finish);
        done?;
        recorded?;
        Ok(outcomes)
    }

    fn recorder(&self) -> Result<Option<Recorder>> {
        let opened = match &*self.own {
            Some(own) => own,
            None => self.providers.opened()?,
        };
        Ok(opened.audit().map(|log| Recorder::new(log.clone(), self.reencrypts)))
    }
}

/// The names of what paths and URLs lead to, read without any key.
#[pyfunction]
pub(crate) fn items(py: Python<'_>, paths: Vec<PathBuf>) -> PyResult<Vec<OsString>> {
    wait(py, async move {
        let source = sources::open(&paths, false)?;
        let mut names = Vec::new();
        let mut listing = source.list();
        while let Some(item) = listing.next().await {
            names.push(outcome::name(&item?));
        }
        Ok::<_, Failure>(names)
    })
}

fn not_reached() -> Failure {
    Failure::other("the job ended before it came to each item")
}

fn shard_of(shard: Option<(u64, u64)>) -> PyResult<Shard> {
    let Some((index, count)) = shard else { return Ok(Shard::ALL) };
    Shard::new(index, count)
        .ok_or_else(|| raised(Failure::usage("a shard is (i, n), such as (1, 4), with i from 1 to n")))
}

fn json_of(value: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(Failure::other)
}
