//! Argon2id version 1.3 (RFC 9106): from a passphrase to a 32-byte key, with
//! its cost checked before any memory is taken.

use std::{num::NonZero, thread};

use ::argon2::{Algorithm, Argon2, Block, Params, Version};
use envelope_sdk::crypto::{Key256, wiped_after};
use rayon::{
    ThreadPool, ThreadPoolBuilder,
    iter::{IntoParallelRefMutIterator, ParallelExtend, ParallelIterator, repeat_n},
};
use zeroize::Zeroize;

use crate::Passphrase;

/// Bytes of a salt: what RFC 9106, section 3.1, recommends.
pub(crate) const SALT_LEN: usize = 16;

/// What one run of Argon2id costs (RFC 9106, section 3.1).
///
/// Whoever guesses passphrases pays this for each guess; so does whoever opens
/// with the right one, once in each process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Argon2Params {
    /// Memory in KiB: 19456 (19 MiB) to 1048576 (1 GiB).
    pub m_cost: u32,
    /// Passes over the memory: 1 to 16.
    pub t_cost: u32,
    /// Lanes: 1 to 16. As many run at once as there are cores.
    pub p_cost: u32,
}

impl Argon2Params {
    /// 64 MiB, 3 passes, 4 lanes: the second recommended option of RFC 9106,
    /// section 4.
    pub const RECOMMENDED: Self = Self { m_cost: 64 * 1024, t_cost: 3, p_cost: 4 };

    /// The least that [`check`](Self::check) allows: 19 MiB, 1 pass, 1 lane.
    pub const MINIMUM: Self = Self { m_cost: 19 * 1024, t_cost: 1, p_cost: 1 };

    /// The most that [`check`](Self::check) allows: 1 GiB, 16 passes, 16 lanes.
    pub const MAXIMUM: Self = Self { m_cost: 1024 * 1024, t_cost: 16, p_cost: 16 };

    /// How often the work of a run with [`RECOMMENDED`](Self::RECOMMENDED) goes
    /// into one with these, rounded up: by the memory, or by memory times
    /// passes, whichever says more. 1 for `RECOMMENDED`, 86 for
    /// [`MAXIMUM`](Self::MAXIMUM). Lanes cost nothing: they share the memory.
    #[must_use]
    pub fn work(&self) -> u32 {
        let new = Self::RECOMMENDED;
        let memory = u64::from(self.m_cost.div_ceil(new.m_cost));
        let passes = |params: &Self| u64::from(params.m_cost) * u64::from(params.t_cost);
        u32::try_from(memory.max(passes(self).div_ceil(passes(&new)))).unwrap_or(u32::MAX)
    }

    /// Checks the bounds: [`MINIMUM`](Self::MINIMUM) to
    /// [`MAXIMUM`](Self::MAXIMUM), each parameter on its own. Parameters come
    /// from files, so this runs before anything is allocated: the lower bound
    /// refuses a downgrade, the upper one a denial of service.
    ///
    /// # Errors
    ///
    /// [`Argon2Error::OutOfBounds`] that names the first parameter out of
    /// bounds.
    pub fn check(&self) -> Result<(), Argon2Error> {
        let (low, high) = (Self::MINIMUM, Self::MAXIMUM);
        let bounds = [
            ("m_cost in KiB", self.m_cost, low.m_cost, high.m_cost),
            ("t_cost", self.t_cost, low.t_cost, high.t_cost),
            ("p_cost", self.p_cost, low.p_cost, high.p_cost),
        ];
        match bounds.into_iter().find(|(_, value, low, high)| !(low..=high).contains(&value)) {
            Some((parameter, value, min, max)) => {
                Err(Argon2Error::OutOfBounds { parameter, value, min, max })
            }
            None => Ok(()),
        }
    }
}

/// Why Argon2id did not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Argon2Error {
    /// A parameter is outside what this crate accepts.
    #[error("the Argon2id parameter {parameter} is {value}, not between {min} and {max}")]
    OutOfBounds {
        /// Which one.
        parameter: &'static str,
        /// What it is.
        value: u32,
        /// The least it may be.
        min: u32,
        /// The most it may be.
        max: u32,
    },
    /// A file asks for more work than it is granted. Nobody vouches for the
    /// parameters of a file before the hash was done.
    #[error(
        "it asks for Argon2id (memory {} MiB, passes {}), {} times the work of a new passphrase recipient, and \
         {allowed} times is allowed",
        params.m_cost.div_ceil(1024), params.t_cost, params.work()
    )]
    TooMuchWork {
        /// What it asks for.
        params: Argon2Params,
        /// How many times the [work](Argon2Params::work) of a new one is allowed.
        allowed: u32,
    },
    /// The system has not that much memory to give.
    #[error("there is no memory of {m_cost} KiB for Argon2id")]
    OutOfMemory {
        /// KiB that were asked for.
        m_cost: u32,
    },
    /// The system gave no thread to run it on.
    #[error("there is no thread for Argon2id")]
    NoThread,
    /// The Argon2 implementation refused parameters that were checked here.
    #[error("Argon2id refused its parameters")]
    Refused,
}

/// Runs Argon2id: 32 bytes of key from `passphrase` and `salt`.
///
/// Takes `m_cost` KiB of memory while it runs, which are wiped before they go
/// back.
pub(crate) fn derive(
    passphrase: &Passphrase,
    params: Argon2Params,
    salt: &[u8; SALT_LEN],
) -> Result<Key256, Argon2Error> {
    params.check()?;
    let Argon2Params { m_cost, t_cost, p_cost } = params;
    let out_of_memory = || Argon2Error::OutOfMemory { m_cost };
    let blocks = usize::try_from(m_cost).map_err(|_| out_of_memory())?;
    let threads = Threads::new(p_cost)?;
    let mut memory = Memory { blocks: Vec::new(), threads: &threads };
    memory.blocks.try_reserve_exact(blocks).map_err(|_| out_of_memory())?;
    // What is new to the process costs as much as a pass over it: on all cores too.
    threads.0.install(|| memory.blocks.par_extend(repeat_n(Block::new(), blocks)));
    let params = Params::new(m_cost, t_cost, p_cost, Some(KEY_LEN)).map_err(|_| Argon2Error::Refused)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    Key256::fill_with(|key| {
        threads.run(|| {
            argon2.hash_password_into_with_memory(
                passphrase.expose(),
                salt,
                key,
                memory.blocks.as_mut_slice(),
            )
        })
    })
    .map_err(|_| Argon2Error::Refused)
}

/// The threads of one run. Argon2id leaves copies of the key on the stack, which stay there after a thread
/// has ended. So it never runs on threads that others use, as those of rayon's common pool.
struct Threads(ThreadPool);

impl Threads {
    fn new(lanes: u32) -> Result<Self, Argon2Error> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let lanes = usize::try_from(lanes).unwrap_or(usize::MAX);
        let pool = ThreadPoolBuilder::new().num_threads(lanes.min(cores)).stack_size(2 * STACK);
        pool.build().map(Self).map_err(|_| Argon2Error::NoThread)
    }

    /// Runs `work` and what it runs at the same time, and wipes all their stacks, if it panics too.
    fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let _wiped = WipedAtLast(&self.0);
        self.0.install(work)
    }
}

struct WipedAtLast<'a>(&'a ThreadPool);

impl Drop for WipedAtLast<'_> {
    fn drop(&mut self) {
        self.0.broadcast(|_| {
            wiped_after::<STACK, _>(|| ());
            #[cfg(test)]
            tests::WIPED.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        });
    }
}

/// The memory that Argon2id works in. The key follows from it, and
/// `hash_password_into` of the crate below frees it as it is; so it is ours.
/// Every byte of it is in a block: wiping a `Vec` would write all of them
/// twice, the second time one by one.
struct Memory<'a> {
    blocks: Vec<Block>,
    threads: &'a Threads,
}

impl Drop for Memory<'_> {
    fn drop(&mut self) {
        let blocks = &mut self.blocks;
        self.threads.0.install(|| blocks.par_iter_mut().for_each(Zeroize::zeroize));
    }
}

const KEY_LEN: usize = 32;
/// Bytes of stack that a run takes, several times over: a thread that waits for a lane may run others meanwhile, on top.
const STACK: usize = 256 * 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test that goes wrong shall stop")]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::Threads;

    /// Stacks that were wiped.
    pub(super) static WIPED: AtomicUsize = AtomicUsize::new(0);

    #[test]
    fn the_stacks_are_wiped_also_when_the_work_panics() {
        let threads = Threads::new(4).unwrap();
        let count = threads.0.current_num_threads();
        let before = WIPED.load(Ordering::SeqCst);
        assert!(catch_unwind(AssertUnwindSafe(|| threads.run(|| panic!("Argon2id")))).is_err());
        assert!(WIPED.load(Ordering::SeqCst) >= before + count);
    }
}
