//! The tests of the core in one program: linking each file for itself took longer than running them. Those that listen
//! to the log of the whole process (`canary.rs`) or search its memory (`zeroize/`) are programs of their own.
//!
//! `cargo test --test all spec_rules::` runs those of one file.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]
#![allow(clippy::duplicate_mod, reason = "each file says what it needs, as if it stood alone")]

#[path = "admin.rs"]
mod admin;
#[path = "aliases.rs"]
mod aliases;
#[path = "data_key.rs"]
mod data_key;
#[path = "differential.rs"]
mod differential;
#[path = "disk.rs"]
mod disk;
#[path = "dropped.rs"]
mod dropped;
#[path = "envelope.rs"]
mod envelope;
#[path = "inside.rs"]
mod inside;
#[path = "keyring.rs"]
mod keyring;
#[path = "parallel.rs"]
mod parallel;
#[cfg(feature = "tokio")]
#[path = "policies.rs"]
mod policies;
#[path = "properties.rs"]
mod properties;
#[path = "ranged.rs"]
mod ranged;
#[path = "refuted.rs"]
mod refuted;
#[path = "registry.rs"]
mod registry;
#[path = "rewrap.rs"]
mod rewrap;
#[path = "serde.rs"]
mod serde;
#[path = "spec_coverage.rs"]
mod spec_coverage;
#[path = "spec_rules.rs"]
mod spec_rules;
#[path = "stream.rs"]
mod stream;
#[path = "tamper.rs"]
mod tamper;
#[cfg(feature = "tokio")]
#[path = "tokio.rs"]
mod tokio;
#[path = "vectors.rs"]
mod vectors;
#[path = "wrap_policy.rs"]
mod wrap_policy;
#[path = "written_vectors.rs"]
mod written_vectors;
#[path = "wycheproof.rs"]
mod wycheproof;

#[test]
fn every_file_of_this_folder_is_run() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let (here, manifest) = (read("tests/all.rs"), read("Cargo.toml"));
    for entry in std::fs::read_dir(root.join("tests")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let runs = match name.strip_suffix(".rs") {
            Some("all") => true,
            Some(file) => {
                here.contains(&format!("#[path = \"{name}\"]"))
                    || manifest.contains(&format!("\nname = \"{file}\""))
            }
            None => {
                !root.join("tests").join(&name).join("main.rs").exists()
                    || manifest.contains(&format!("\npath = \"tests/{name}/main.rs\""))
            }
        };
        assert!(runs, "tests/{name} is in neither tests/all.rs nor Cargo.toml");
    }
}
