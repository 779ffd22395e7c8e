//! Many at once, while the primary version is switched under them.

use std::{collections::BTreeSet, sync::atomic::AtomicBool, thread};

use envelope_sdk::{KeyAdmin, KeyProvider};

use super::*;

#[test]
fn each_wrap_of_64_threads_opens_while_the_primary_version_is_switched() {
    let gcp = Gcp::new();
    let key = gcp.key();
    let ended = AtomicBool::new(false);
    let versions = thread::scope(|scope| {
        let switching = scope.spawn(|| {
            let mut rotations = 0;
            while !ended.load(Ordering::SeqCst) && rotations < 50 {
                block_on(gcp.kms.rotate_key(&key)).unwrap();
                block_on(gcp.kms.make_primary(&key, "1")).unwrap();
                rotations += 1;
            }
            rotations
        });
        let wrapping: Vec<_> = (0..64)
            .map(|_| {
                scope.spawn(|| {
                    let mut versions = BTreeSet::new();
                    for _ in 0..8 {
                        let dek = fresh_dek();
                        let wrapped = block_on(gcp.kms.wrap_dek(&key, &dek, &context())).unwrap();
                        let back = block_on(gcp.kms.unwrap_dek(&wrapped, &context())).unwrap();
                        assert_eq!(back.expose(), dek.expose());
                        versions.insert(wrapped.key_version().to_owned());
                    }
                    versions
                })
            })
            .collect();
        let versions: BTreeSet<String> =
            wrapping.into_iter().flat_map(|wrapping| wrapping.join().unwrap()).collect();
        ended.store(true, Ordering::SeqCst);
        assert!(switching.join().unwrap() > 0);
        versions
    });
    let told = block_on(gcp.kms.describe(&key)).unwrap();
    assert!(versions.len() > 1, "{versions:?}");
    assert!(versions.iter().all(|version| told.version(version).is_some()), "{versions:?}");
}

/// The client is made once, whoever asks first.
#[test]
fn many_first_calls_make_one_client() {
    let gcp = Gcp::new();
    let key = gcp.key();
    let kms = at(&gcp.http.url()).build();
    thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| block_on(kms.wrap_dek(&key, &fresh_dek(), &context())).unwrap());
        }
    });
}
