//! Files under a temporary name, which a process that is told to end removes
//! first. (Most files have no name at all until they are finished; this is for
//! where the file system cannot do that.)

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::folder::{Place, temporary_name};

/// Removes every unfinished file of this process. Until the guard is dropped no
/// other is made or gets its name: hold it until the process has ended.
///
/// It waits for locks, so call it from a thread, never within a signal handler.
#[must_use = "files are made again when the guard is dropped"]
pub fn remove_all() -> Stopped {
    let unfinished = lock();
    for place in unfinished.iter() {
        let _ = place.unlink();
    }
    Stopped(unfinished)
}

/// Keeps this process from making files. See [`remove_all`].
pub struct Stopped(#[expect(dead_code, reason = "held, not used")] MutexGuard<'static, Vec<Place>>);

/// Makes a file by `make` under a temporary name in the folder of `beside`, so
/// that [`remove_all`] comes before it or sees it.
pub(crate) fn make<T>(
    beside: &Place,
    mut make: impl FnMut(&Place) -> io::Result<T>,
) -> io::Result<(T, Unfinished)> {
    let mut unfinished = lock();
    for _ in 0..TRIES {
        let place = beside.sibling(temporary_name()?);
        match make(&place) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => {
                let made = made?;
                unfinished.push(place.clone());
                return Ok((made, Unfinished { place, finished: false }));
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Gives a file that had none its name by `name`: not while the process ends.
pub(crate) fn name<T>(name: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let _unfinished = lock();
    name()
}

/// Gives several files their names by `work`, with nothing between that ends the process
/// and cleans up.
pub(crate) fn together<T>(work: impl FnOnce(&mut Names) -> T) -> T {
    work(&mut Names(lock()))
}

/// The right to give names, which [`remove_all`] waits for.
pub(crate) struct Names(MutexGuard<'static, Vec<Place>>);

impl Names {
    /// As [`Unfinished::finish`].
    pub(crate) fn finish(
        &mut self,
        unfinished: &mut Unfinished,
        finish: impl FnOnce(&Place) -> io::Result<()>,
    ) -> io::Result<()> {
        finish(&unfinished.place)?;
        unfinished.finished = true;
        forget(&mut self.0, &unfinished.place);
        Ok(())
    }
}

/// A file that [`remove_all`] removes, and that goes when this is dropped.
pub(crate) struct Unfinished {
    place: Place,
    finished: bool,
}

impl Unfinished {
    /// Ends the watch: `finish` gives the file its own name.
    pub(crate) fn finish(mut self, finish: impl FnOnce(&Place) -> io::Result<()>) -> io::Result<()> {
        together(|names| names.finish(&mut self, finish))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            let mut unfinished = lock();
            let _ = self.place.unlink();
            forget(&mut unfinished, &self.place);
        }
    }
}

fn forget(unfinished: &mut Vec<Place>, place: &Place) {
    unfinished.retain(|other| other.name() != place.name());
}

fn lock() -> MutexGuard<'static, Vec<Place>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

static UNFINISHED: Mutex<Vec<Place>> = Mutex::new(Vec::new());
const TRIES: usize = 100;
