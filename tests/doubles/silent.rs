//! A source that is silent holds nothing back that is known already.

use std::{
    io::{self, Read, Write},
    sync::mpsc::{Receiver, Sender, TryRecvError, channel},
    thread,
    time::Duration,
};

use envelope_sdk::{
    DecryptError,
    stream::{self, StreamError},
};

use crate::{
    CHUNK, SEALED, parallel,
    script::{scripted_panic, unless_panicked},
    sealed, start,
};

/// Gives its bytes in pieces and is silent then, until its other end is gone.
struct Silent {
    bytes: io::Cursor<Vec<u8>>,
    piece: usize,
    until: Receiver<()>,
}

fn silent(bytes: &[u8], piece: usize) -> (Silent, Sender<()>) {
    let (end, until) = channel();
    (Silent { bytes: io::Cursor::new(bytes.to_vec()), piece, until }, end)
}

impl Read for Silent {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = out.len().min(self.piece);
        match self.bytes.read(&mut out[..most])? {
            0 => {
                let _ = self.until.recv();
                Ok(0)
            }
            read => Ok(read),
        }
    }
}

/// What `run` returns, which it must do while `_end` keeps the source silent.
fn at_once<T: Send + 'static>(_end: &Sender<()>, run: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, done) = channel();
    thread::spawn(move || send.send(run()));
    // No measure of time: who waits for the source would wait for ever.
    done.recv_timeout(Duration::from_secs(60)).expect("it waits for a silent source")
}

struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Panicking;

impl Write for Panicking {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        scripted_panic()
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_changed_chunk_is_reported_as_soon_as_it_has_arrived() {
    let plaintext = crate::message(200 * CHUNK);
    let pieces = [1000, 65_536, usize::MAX];
    let places = [(0, 1, 0), (0, 64, 0), (1, 2, 0), (3, 4, 100), (0, 70, 5), (100, 101, 16_399)];
    for (changed, arrived, more) in places {
        for (threads, piece) in
            [1, 2, 32].into_iter().flat_map(|threads| pieces.map(|piece| (threads, piece)))
        {
            let (opened, mut payload) = sealed(&plaintext);
            payload[56 + changed * SEALED] ^= 1;
            let (source, end) = silent(&payload[..56 + arrived * SEALED + more], piece);
            let (result, written) = at_once(&end, move || {
                let mut written = Vec::new();
                (parallel(threads).open_pipe(&opened, source, &mut written), written)
            });
            let case = format!("chunk {changed} of {arrived} by {piece}, {threads} threads");
            let error = result.expect_err(&case);
            assert!(matches!(error, StreamError::Decrypt(DecryptError::NotAuthentic)), "{case}: {error:?}");
            assert!(written == plaintext[..changed * CHUNK], "{case}: all that is authentic was written");
        }
    }
}

#[test]
fn one_thread_reports_a_changed_chunk_as_soon_as_it_has_arrived() {
    let (opened, mut payload) = sealed(&crate::message(10 * CHUNK));
    payload[60] ^= 1;
    let (mut source, end) = silent(&payload[..56 + SEALED], 10_000);
    let result = at_once(&end, move || stream::open(&opened, &mut source, &mut Vec::new()));
    assert!(matches!(result, Err(StreamError::Decrypt(DecryptError::NotAuthentic))), "{result:?}");
}

#[test]
fn an_output_that_fails_is_reported_while_the_input_is_silent() {
    let plaintext = crate::message(64 * CHUNK);
    for threads in [1, 2, 32] {
        let (source, end) = silent(&plaintext, usize::MAX);
        let started = start();
        let sealing = at_once(&end, move || parallel(threads).seal_pipe(started.payload, source, &mut Full));
        let (opened, payload) = sealed(&plaintext);
        let (source, end) = silent(&payload[..60 * SEALED], usize::MAX);
        let opening = at_once(&end, move || parallel(threads).open_pipe(&opened, source, &mut Full));
        for result in [sealing, opening] {
            assert!(
                matches!(&result, Err(StreamError::Write(error)) if error.kind() == io::ErrorKind::StorageFull),
                "{result:?}"
            );
        }
    }
}

#[test]
fn an_output_or_a_progress_that_panics_is_heard_of_while_the_input_is_silent() {
    for threads in [1, 2, 32] {
        let (opened, payload) = sealed(&crate::message(64 * CHUNK));
        let (source, end) = silent(&payload[..60 * SEALED], usize::MAX);
        let done = at_once(&end, move || {
            unless_panicked(|| parallel(threads).open_pipe(&opened, source, &mut Panicking).is_ok())
        });
        assert_eq!(done, None, "{threads} threads");
        let (opened, payload) = sealed(&crate::message(64 * CHUNK));
        let (source, end) = silent(&payload[..60 * SEALED], usize::MAX);
        let done = at_once(&end, move || {
            let parallel = parallel(threads).on_progress(&|_| scripted_panic());
            unless_panicked(|| parallel.open_pipe(&opened, source, &mut Vec::new()).is_ok())
        });
        assert_eq!(done, None, "{threads} threads");
    }
}

#[test]
fn the_input_is_dropped_when_a_call_has_ended_well() {
    struct Watched(io::Cursor<Vec<u8>>, #[expect(dead_code, reason = "told by its drop")] Sender<()>);

    impl Read for Watched {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.0.read(out)
        }
    }

    for threads in [1, 2, 32] {
        let (opened, payload) = sealed(&crate::message(40 * CHUNK));
        let (held, dropped) = channel();
        let source = Watched(io::Cursor::new(payload), held);
        parallel(threads).open_pipe(&opened, source, &mut Vec::new()).unwrap();
        assert_eq!(dropped.try_recv(), Err(TryRecvError::Disconnected), "{threads} threads");
    }
}
