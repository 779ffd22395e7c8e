//! Every operation on a disk fails, once or from then on.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use envelope_files::disk::{Change, Disk, Verdict};

use super::{Bench, KINDS, folder, names, with_disk};

/// How operations fail.
#[derive(Debug, Clone, Copy)]
struct Fault {
    /// The first one that does.
    at: usize,
    /// And all after it.
    for_ever: bool,
    errno: i32,
    /// It is done all the same, and a write by half.
    late: bool,
    /// The file system has no unnamed files.
    named: bool,
}

struct Failing {
    fault: Fault,
    seen: Arc<AtomicUsize>,
}

impl Disk for Failing {
    fn before(&mut self, change: Change<'_>) -> Verdict {
        let Fault { at, for_ever, errno, late, named } = self.fault;
        if named && matches!(change, Change::MakeUnnamed(_)) {
            return Verdict::Fail(io::ErrorKind::Unsupported.into());
        }
        let number = self.seen.fetch_add(1, Ordering::Relaxed);
        let error = || io::Error::from_raw_os_error(errno);
        match number == at || for_ever && number > at {
            false => Verdict::Go,
            true if late => Verdict::FailLate(error()),
            true => Verdict::Fail(error()),
        }
    }

    fn after(&mut self, _change: Change<'_>) {}
}

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

#[test]
fn each_operation_that_fails_once_or_for_ever_leaves_an_envelope_that_opens_and_the_next_job_ends_it() {
    let bench = Bench::new();
    let (mut runs, mut most) = (0, 0);
    for kind in KINDS {
        let sealed = bench.sealed(kind);
        for reencrypts in [false, true] {
            for named in [false, true] {
                for for_ever in [false, true] {
                    for (errno, late) in [(ENOSPC, false), (ENOSPC, true), (EIO, false), (EIO, true)] {
                        for at in 0.. {
                            let fault = Fault { at, for_ever, errno, late, named };
                            let when = format!("{kind:?}, reencrypts {reencrypts}, {fault:?}");
                            let folder = folder(&sealed);
                            let before = names(folder.path());
                            let seen = Arc::new(AtomicUsize::new(0));
                            let disk = Failing { fault, seen: Arc::clone(&seen) };
                            let report = with_disk(disk, || bench.job(folder.path(), reencrypts)).unwrap();
                            bench.check(folder.path(), &["a", "b"], &when);
                            bench.finish(folder.path(), (reencrypts, named), &before, &when);
                            runs += 1;
                            if seen.load(Ordering::Relaxed) <= at {
                                assert_eq!(report.totals.failed, 0, "{when}: {report}");
                                most = most.max(at);
                                break;
                            }
                        }
                    }
                }
            }
        }
    }
    println!("{runs} jobs with a fault, of up to {most} operations");
}
