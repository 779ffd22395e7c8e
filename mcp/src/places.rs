//! [`Places`]: how many calls run, and whose.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Caller, Failure, Kind, Server};

/// The calls that run.
#[derive(Default)]
pub(crate) struct Places(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    all: usize,
    /// Of whoever has any.
    of: HashMap<Caller, usize>,
}

impl Places {
    /// A place for a call of `caller`, or why there is none.
    pub(crate) fn take(self: &Arc<Self>, caller: &Caller) -> Result<Place, Failure> {
        let mut taken = self.taken();
        let own = taken.of.get(caller).copied().unwrap_or(0);
        if own >= Server::MOST_CALLS {
            return Err(full(format!("{own} calls run already")));
        }
        // Whoever has none gets one all the same: clients that take whatever they can leave the others theirs.
        if own > 0 && taken.all >= Server::MOST_CALLS_OF_ALL {
            return Err(full(format!("{} calls of all clients run already", taken.all)));
        }
        taken.all += 1;
        taken.of.insert(caller.clone(), own + 1);
        Ok(Place { places: Arc::clone(self), caller: caller.clone() })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn full(what: String) -> Failure {
    Failure::new(Kind::Other, what).hint("wait for one to end")
}

/// Counts a call until it is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    caller: Caller,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        if let Some(own) = taken.of.get_mut(&self.caller) {
            *own -= 1;
            if *own == 0 {
                taken.of.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: usize) -> Caller {
        Caller::named(&format!("spiffe://acme.example/{number}")).unwrap()
    }

    #[test]
    fn clients_that_take_what_they_can_leave_each_other_client_a_place() {
        let places = Arc::new(Places::default());
        let mut held = Vec::new();
        for greedy in 0..3 {
            while let Ok(place) = places.take(&client(greedy)) {
                held.push(place);
            }
        }
        // Two have all that one may have, the third what every client has.
        assert_eq!(held.len(), 2 * Server::MOST_CALLS + 1);
        let refused = |number| places.take(&client(number)).map(drop).unwrap_err().message;
        assert_eq!(refused(0), "16 calls run already");
        assert_eq!(refused(2), "33 calls of all clients run already");
        for other in 3..100 {
            let _its_own = places.take(&client(other)).unwrap();
            assert_eq!(refused(other), "34 calls of all clients run already");
        }
        held.clear();
        let taken = places.taken();
        assert_eq!((taken.all, taken.of.len()), (0, 0), "nothing is kept of those who are gone");
    }
}
