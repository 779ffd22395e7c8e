//! What a decision costs.

#![allow(clippy::unwrap_used, missing_docs, reason = "a program that measures")]

use std::{fs, hint::black_box, os::unix::fs::PermissionsExt as _, sync::Arc};

use criterion::{Criterion, criterion_group, criterion_main};
use envelope_policy::{Actor, Guard, Operation, Policy, PolicyFile};
use envelope_sdk::{EncryptionContext, KeyUri};

fn decisions(criterion: &mut Criterion) {
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

criterion_group!(benches, decisions);
criterion_main!(benches);
