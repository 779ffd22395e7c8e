//! [`Aside`]: what is dropped where nobody waits for it.

use std::{ops::Deref, thread};

/// Key stores, and what holds them. Dropping them may wait for a thread, such as that of a token, and that one may wait for the
/// interpreter, for a function that gives a PIN; whoever drops an object of Python has the interpreter. So it is done on a thread of
/// its own.
pub(crate) struct Aside<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Aside<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self(Some(inner))
    }
}

impl<T: Send + 'static> Deref for Aside<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.0 {
            Some(inner) => inner,
            None => unreachable!("it is taken when this is dropped, and not before"),
        }
    }
}

impl<T: Send + 'static> Drop for Aside<T> {
    fn drop(&mut self) {
        let inner = self.0.take();
        // Where there is no thread, it is done here.
        let _ = thread::Builder::new().name("envelope-sdk".into()).spawn(move || drop(inner));
    }
}
