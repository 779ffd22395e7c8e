//! Figures, for an optimised build: `cargo test --release -p envelope-audit -- --ignored figure --nocapture`.

use std::time::Instant;

use crate::common::{Place, entry, options};

/// Of one writer that waits for each record: set `TMPDIR=/dev/shm` for a file system in memory.
#[test]
#[ignore = "a figure"]
fn figure_appends_each_second() {
    let place = Place::new();
    let log = place.create(options());
    let count = 20_000;
    let began = Instant::now();
    for number in 0..count {
        log.append_blocking(entry(number)).unwrap();
    }
    let alone = began.elapsed().as_secs_f64();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                (0..count / 16).for_each(|number| assert!(log.append_blocking(entry(number)).is_ok()))
            });
        }
    });
    let many = began.elapsed().as_secs_f64();
    let path = place.path();
    println!(
        "{:.0} appends/s of one writer, {:.0} of 16 threads, in {}",
        count as f64 / alone,
        count as f64 / many,
        path.display()
    );
    drop(log);
    place.verify().unwrap();
}
