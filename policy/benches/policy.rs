//! What a decision costs.

#![allow(clippy::unwrap_used, missing_docs, reason = "a program that measures")]

use std::{fs, hint::black_box, os::unix::fs::PermissionsExt as _, sync::Arc, time::Duration};

use criterion::{
    Criterion, criterion_group, criterion_main,
    measurement::{Measurement, ValueFormatter, WallTime},
};
use envelope_policy::{Actor, Guard, Operation, Policy, PolicyFile};
use envelope_sdk::{EncryptionContext, KeyUri};
use rustix::time::{ClockId, clock_gettime};

fn decisions(criterion: &mut Criterion<ProcessorTime>) {
    let mut text = String::from("version = 1\n");
    for number in 0..10 {
        text.push_str(&format!(
            "[[rule]]\nname = 'r{number}'\neffect = 'allow'\nactor = ['library:service-{number}']\noperation = ['use']\n\
             key = ['awskms:///arn:aws:kms:eu-*:111122223333:key/*']\ncontext = {{ tenant = '$actor.tenant' }}\n"
        ));
    }
    let policy = Arc::new(Policy::parse(&text).unwrap());
    let context = EncryptionContext::new().with("purpose", "mail").with("tenant", "acme").full().unwrap();
    let key = "awskms:///arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let key = KeyUri::parse(key).unwrap();
    let mut group = criterion.benchmark_group("policy");
    for (name, service) in [("first of ten rules", 0), ("last of ten rules", 9)] {
        let actor = Actor::parse(&format!("library:service-{service}")).unwrap().of_tenant("acme");
        let guard = Guard::new(policy.clone(), actor);
        let request = guard.request(Operation::Unwrap).key(&key).context(&context);
        guard.check(&request).unwrap();
        group.bench_function(name, |bencher| bencher.iter(|| black_box(guard.check(black_box(&request)))));
    }
    // As envctl and services have it: whether the file has changed is asked too.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    fs::write(&path, &text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let actor = Actor::parse("library:service-9").unwrap().of_tenant("acme");
    let guard = Guard::of_file(&PolicyFile::open(path).unwrap(), actor);
    let request = guard.request(Operation::Unwrap).key(&key).context(&context);
    group.bench_function("last of ten rules, of a file", |bencher| {
        bencher.iter(|| black_box(guard.check(black_box(&request))));
    });
    group.finish();
}

/// The processor time of this thread: other programs on the machine do not count.
struct ProcessorTime;

impl Measurement for ProcessorTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
    }

    fn end(&self, begun: Duration) -> Duration {
        self.start() - begun
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ProcessorTime);
    targets = decisions
}
criterion_main!(benches);
