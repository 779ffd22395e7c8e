//! Threads that own sessions.
//!
//! A PKCS#11 call blocks, and a session may be used by one thread at a time. So
//! each thread of the pool has at most one session, takes jobs from one queue
//! and hands each result to the future that waits for it. The number of threads
//! is the number of sessions; no lock is held during a call of the token, no
//! runtime is needed, and no executor's thread ever waits.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
};

use envelope_files::under_way::UnderWay;
use futures_channel::oneshot;

use crate::{
    error::{Failure, ModuleError},
    session::{Shared, Worker},
};

type Job = Box<dyn FnOnce(&mut Worker) + Send>;

pub(crate) struct Pool {
    /// Taken when the pool ends, which ends the threads.
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

impl Pool {
    /// Starts the threads. A session is opened by the first job of its thread.
    pub(crate) fn start(shared: &Arc<Shared>, threads: usize) -> Result<Self, ModuleError> {
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let (threads_begun, shared) = (Vec::with_capacity(threads), Arc::clone(shared));
        let mut pool = Self { jobs: Some(jobs), threads: threads_begun, shared };
        for _ in 0..threads {
            let (queue, worker) = (Arc::clone(&queue), Worker::new(Arc::clone(&pool.shared)));
            let thread = thread::Builder::new().name("envelope-pkcs11".into());
            pool.threads.push(thread.spawn(move || work(&queue, worker))?);
        }
        Ok(pool)
    }

    /// Runs `job` on a thread of the pool. If the future is dropped, a job that has begun
    /// still ends and its result is dropped, which wipes a DEK; one that has not is not begun: who
    /// called may have called again.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Worker) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (answer, waiting) = oneshot::channel();
        let refusals = self.shared.refusals();
        let job: Job = Box::new(move |worker| {
            if answer.is_canceled() {
                return;
            }
            worker.begin(refusals);
            // Nobody waits any more when the future was dropped.
            let _ = answer.send(job(worker));
        });
        // A job that is not taken, or that panics, drops the answer.
        let _ = self.jobs.as_ref().map(|jobs| jobs.send(job));
        waiting.await.unwrap_or_else(|_| {
            let message = "what was called panicked, perhaps who is asked for the PIN; its session is closed, and the \
                           next call opens another";
            Err(Failure::new(envelope_sdk::ProviderErrorKind::Other, message))
        })
    }
}

/// Waits for the jobs that were begun, so that no session outlives the pool.
impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        let here = thread::current().id();
        for thread in self.threads.drain(..) {
            // A PIN prompt may hold the last handle of the provider.
            if thread.thread().id() != here {
                let _ = thread.join();
            }
        }
    }
}

fn work(queue: &Mutex<Receiver<Job>>, mut worker: Worker) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let _call = UnderWay::begin();
        let Ok(job) = job else {
            // Which closes its session.
            drop(worker);
            return;
        };
        // Who is asked for a PIN may panic. The thread serves others after that, by a session in
        // which nothing is half done.
        if catch_unwind(AssertUnwindSafe(|| job(&mut worker))).is_err() {
            worker.forget();
        }
    }
}
