//! Files of each kind, what is left over, and two jobs on one tree.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use envelope_files::{Journal, LockedFile};
use envelope_rotation::{Control, Files, Goal, Job, Key, Outcome, Report, is_half_reencrypted, payload_path};
use envelope_sdk::{EncryptionContext, Envelope, Header, KeyProvider, format::armor};
use envelope_testkit::MemoryProvider;
use tempfile::TempDir;

use crate::{Keys, a_to_b, run};

/// A tree with an envelope of each kind, and what a file holds.
struct Tree {
    folder: TempDir,
    keys: Keys,
}

const KINDS: [&str; 4] =
    ["padded.envelope", "sub/attached.envelope", "sub/armored.pem", "sub/deep/detached.envelope"];

impl Tree {
    async fn new() -> Self {
        let tree = Self { folder: tempfile::tempdir().unwrap(), keys: Keys::new() };
        fs::create_dir_all(tree.path("sub/deep")).unwrap();
        for name in KINDS {
            tree.write(name, "a").await;
        }
        fs::write(tree.path("sub/notes.txt"), "no envelope").unwrap();
        fs::write(tree.path("empty"), "").unwrap();
        tree
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn write(&self, name: &str, letters: &str) {
        let envelope = self.keys.envelope(letters);
        let (path, context) = (self.path(name), EncryptionContext::new());
        let plaintext = plaintext(name);
        match name.rsplit('/').next().unwrap() {
            "padded.envelope" => {
                fs::write(&path, envelope.pad_headers_to(4096).encrypt(&plaintext, &context).await.unwrap())
            }
            "attached.envelope" => fs::write(&path, envelope.encrypt(&plaintext, &context).await.unwrap()),
            "armored.pem" => {
                fs::write(&path, armor::encode(&envelope.encrypt(&plaintext, &context).await.unwrap()))
            }
            _ => {
                let (header, payload) = envelope.encrypt_detached(&plaintext, &context).await.unwrap();
                fs::write(payload_path(&path), payload).unwrap();
                fs::write(&path, header)
            }
        }
        .unwrap();
    }

    /// Whether the file gives its plaintext with this key.
    async fn opens(&self, name: &str, letter: &str) -> bool {
        let (envelope, bytes) = (self.keys.envelope(letter), fs::read(self.path(name)).unwrap());
        let context = EncryptionContext::new();
        let opened = if name.contains("detached") {
            let payload = fs::read(payload_path(&self.path(name))).unwrap();
            envelope.decrypt_detached(&bytes, &payload, &context).await
        } else if name.contains("armored") {
            envelope.decrypt(&armor::decode(&String::from_utf8(bytes).unwrap()).unwrap(), &context).await
        } else {
            envelope.decrypt(&bytes, &context).await
        };
        opened.is_ok_and(|opened| opened == plaintext(name))
    }

    async fn check(&self, letter: &str) {
        for name in KINDS {
            for other in ["a", "b", "c"] {
                assert_eq!(self.opens(name, other).await, other == letter, "{name} {other}");
            }
        }
        assert_eq!(self.files(), files_of_a_new_tree(), "nothing is left over");
    }

    fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path.strip_prefix(self.folder.path()).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        found
    }

    fn source(&self) -> Arc<Files> {
        Arc::new(Files::new(vec![self.folder.path().into()]).removing_left_files())
    }

    async fn run(&self, goal: Goal) -> Report {
        run(Job::new(self.source(), goal)).await
    }
}

fn files_of_a_new_tree() -> Vec<String> {
    let mut files: Vec<_> = KINDS.iter().map(ToString::to_string).collect();
    files.extend(["empty", "sub/deep/detached.sealed", "sub/notes.txt"].map(Into::into));
    files.sort();
    files
}

/// Of more than one chunk, another one for each name.
fn plaintext(name: &str) -> Vec<u8> {
    name.bytes().cycle().take(20_000).collect()
}

/// What a job is told of the items that failed.
async fn failures(job: Job) -> Vec<String> {
    let mut failed = Vec::new();
    let control = Control::new();
    job.run(&control, |item| {
        if let Outcome::Failed(error) = &item.outcome {
            failed.push(format!("{}: {error}", item.item));
        }
    })
    .await
    .unwrap();
    failed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_file_is_rewrapped_with_its_mode_and_what_is_no_envelope_is_passed_over() {
    let tree = Tree::new().await;
    for name in KINDS {
        fs::set_permissions(tree.path(name), fs::Permissions::from_mode(0o640)).unwrap();
    }
    let inode = |name: &str| fs::metadata(tree.path(name)).unwrap().ino();
    let before = inode("padded.envelope");
    let report = tree.run(a_to_b(&tree.keys)).await;
    assert_eq!(
        (report.totals.rewrapped, report.totals.passed_over, report.totals.failed),
        (4, 3, 0),
        "{report}"
    );
    assert_eq!(inode("padded.envelope"), before, "in place");
    for name in KINDS {
        assert_eq!(fs::metadata(tree.path(name)).unwrap().mode() & 0o777, 0o640, "{name}");
    }
    tree.check("b").await;
    assert_eq!(tree.run(a_to_b(&tree.keys)).await.totals.in_target_state, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_file_is_reencrypted_with_its_mode() {
    let tree = Tree::new().await;
    for name in KINDS {
        fs::set_permissions(tree.path(name), fs::Permissions::from_mode(0o640)).unwrap();
    }
    let report = tree.run(a_to_b(&tree.keys).reencrypting()).await;
    assert_eq!((report.totals.reencrypted, report.totals.failed), (4, 0), "{report}");
    for name in KINDS {
        assert_eq!(fs::metadata(tree.path(name)).unwrap().mode() & 0o777, 0o640, "{name}");
    }
    let padded = fs::read(tree.path("padded.envelope")).unwrap();
    assert_eq!(Header::parse(&padded).unwrap().1, 4096);
    tree.check("b").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_jobs_on_one_tree_do_each_file_once_between_them() {
    let tree = Tree::new().await;
    for number in 0..200 {
        fs::create_dir_all(tree.path(&format!("many/{number}"))).unwrap();
        tree.write(&format!("many/{number}/padded.envelope"), "a").await;
        tree.write(&format!("many/{number}/attached.envelope"), "a").await;
    }
    let (first, second) = tokio::join!(tree.run(a_to_b(&tree.keys)), tree.run(a_to_b(&tree.keys)));
    assert_eq!(first.totals.failed + second.totals.failed, 0, "{first} {second}");
    assert_eq!(first.totals.rewrapped + second.totals.rewrapped, 404);
    for number in 0..200 {
        for name in ["padded", "attached"] {
            let name = format!("many/{number}/{name}.envelope");
            assert!(tree.opens(&name, "b").await, "{name}");
            let header = Envelope::inspect(&fs::read(tree.path(&name)).unwrap()).unwrap();
            assert_eq!(header.generation(), 1, "{name}");
        }
    }
    assert_eq!(tree.files().len(), files_of_a_new_tree().len() + 400, "nothing is left over");
}

#[tokio::test]
async fn a_pair_that_another_job_has_under_way_is_waited_for() {
    let tree = Tree::new().await;
    let name = "sub/deep/detached.envelope";
    let [old, new] = detached(&tree).await;
    fs::write(tree.path(name), &old.0).unwrap();
    fs::write(tree.path("sub/deep/detached.envelope.reencrypt-journal"), &new.0).unwrap();
    let other = LockedFile::open(&tree.path(name)).unwrap();
    let job = tree.run(a_to_b(&tree.keys));
    let release = async move {
        // The job has met the lock by then, or comes later: right either way.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        drop(other);
    };
    let (report, ()) = tokio::join!(job, release);
    assert_eq!(report.totals.failed, 0, "{report}");
    tree.check("b").await;
}

/// The header of a file before and after a rewrap to `b`.
async fn headers(tree: &Tree, name: &str) -> (Header, Header) {
    let old = Envelope::inspect(&fs::read(tree.path(name)).unwrap()).unwrap();
    let to = envelope_sdk::Keyring::new()
        .decrypt(tree.keys.provider(), crate::uri('a'))
        .encrypt(tree.keys.provider(), crate::uri('b'));
    let new = Envelope::new(to).rewrap_header(old.clone(), &EncryptionContext::new()).await.unwrap();
    (old, new)
}

#[tokio::test]
async fn a_header_that_was_cut_off_is_finished_from_its_journal_by_the_next_job() {
    // As far as the new header was written: into its recipients, and all but its MAC, when it looks like the new one.
    for (written, lost_sector) in [(60, false), (100, false), (200, false), (4000, false), (200, true)] {
        let tree = Tree::new().await;
        let path = tree.path("padded.envelope");
        let (old, new) = headers(&tree, "padded.envelope").await;
        let journal = path.with_file_name(Journal::name_of(path.file_name().unwrap()));
        fs::write(&journal, Journal::new(old, new.clone()).unwrap().to_bytes()).unwrap();
        let mut torn = fs::read(&path).unwrap();
        torn[..written].copy_from_slice(&new.to_bytes()[..written]);
        if lost_sector {
            torn[..512].fill(0);
        }
        fs::write(&path, torn).unwrap();
        let report = tree.run(a_to_b(&tree.keys)).await;
        // The journal is passed over too.
        assert_eq!((report.totals.failed, report.totals.passed_over), (0, 4), "{report}");
        tree.check("b").await;
    }
}

#[tokio::test]
async fn a_dead_journal_beside_a_header_in_the_target_state_goes() {
    let tree = Tree::new().await;
    let (old, new) = headers(&tree, "padded.envelope").await;
    tree.run(a_to_b(&tree.keys)).await;
    let path = tree.path("padded.envelope");
    let mut bytes = fs::read(&path).unwrap();
    bytes[..4096].copy_from_slice(&new.to_bytes());
    fs::write(&path, bytes).unwrap();
    let journal = path.with_file_name(Journal::name_of(path.file_name().unwrap()));
    fs::write(&journal, Journal::new(old, new).unwrap().to_bytes()).unwrap();
    let report = tree.run(a_to_b(&tree.keys)).await;
    assert_eq!((report.totals.in_target_state, report.totals.failed), (4, 0));
    tree.check("b").await;
}

#[tokio::test]
async fn a_plan_says_of_a_header_that_was_cut_off_what_finishes_it() {
    let tree = Tree::new().await;
    let (old, new) = headers(&tree, "padded.envelope").await;
    let path = tree.path("padded.envelope");
    let journal = path.with_file_name(Journal::name_of(path.file_name().unwrap()));
    let whole = fs::read(&path).unwrap();
    // The sector with the recipients, and the first one.
    for lost in [16..512, 0..512] {
        let mut bytes = whole.clone();
        bytes[..4096].copy_from_slice(&new.to_bytes());
        bytes[lost.clone()].fill(0);
        fs::write(&path, bytes).unwrap();
        fs::write(&journal, Journal::new(old.clone(), new.clone()).unwrap().to_bytes()).unwrap();
        let mut said = Vec::new();
        let plan = Job::new(tree.source(), a_to_b(&tree.keys));
        let control = Control::new();
        let plan = plan.plan(&control, |item| {
            if let Outcome::Failed(error) = &item.outcome {
                said.push(format!("{}: {error}", item.item));
            }
        });
        assert_eq!(plan.await.unwrap().failed, 1, "{lost:?}");
        let [said] = said.as_slice() else { panic!("{said:?}") };
        assert!(said.contains("padded.envelope: writing it was interrupted"), "{lost:?}: {said}");
    }
    tree.run(a_to_b(&tree.keys)).await;
    tree.check("b").await;
}

/// Half a header may look like a whole one for the old key, which may be out of use by now.
#[tokio::test]
async fn a_header_that_was_cut_off_is_finished_by_the_new_key_whatever_is_said_of_the_old_one() {
    let tree = Tree::new().await;
    let (old, new) = headers(&tree, "padded.envelope").await;
    let path = tree.path("padded.envelope");
    let journal = path.with_file_name(Journal::name_of(path.file_name().unwrap()));
    fs::write(&journal, Journal::new(old, new.clone()).unwrap().to_bytes()).unwrap();
    // Nothing but the MAC has arrived.
    let mut torn = fs::read(&path).unwrap();
    torn[4064..4096].copy_from_slice(&new.to_bytes()[4064..]);
    fs::write(&path, torn).unwrap();
    // There is no such key any more.
    let gone: Arc<dyn KeyProvider> = Arc::new(MemoryProvider::new());
    let goal = Goal::only(tree.keys.keys("b")).open_with(vec![Key::new(gone, crate::uri('a'))]);
    let job = || Job::new(Arc::new(Files::new(vec![path.clone()])), goal.clone());
    let plan = job().plan(&Control::new(), |_| {}).await.unwrap();
    assert_eq!((plan.failed, plan.to_change), (1, 0), "{plan}");
    let report = run(job()).await;
    assert_eq!((report.totals.in_target_state, report.totals.failed), (1, 0), "{report}");
    assert!(tree.opens("padded.envelope", "b").await && !journal.exists());
}

#[tokio::test]
async fn a_journal_of_a_longer_file_that_was_there_before_does_no_harm() {
    let tree = Tree::new().await;
    let (old, new) = headers(&tree, "padded.envelope").await;
    let journal = tree.path("sub/attached.envelope.rewrap-journal");
    fs::write(&journal, Journal::new(old, new).unwrap().to_bytes()).unwrap();
    // Shorter than the headers of the journal.
    fs::write(
        tree.path("sub/attached.envelope"),
        tree.keys.envelope("b").encrypt(b"1", &EncryptionContext::new()).await.unwrap(),
    )
    .unwrap();
    let report = tree.run(a_to_b(&tree.keys)).await;
    assert_eq!((report.totals.failed, report.totals.in_target_state), (0, 1), "{report}");
}

#[tokio::test]
async fn copies_that_were_left_behind_go_and_what_is_in_use_or_no_envelope_stays() {
    let tree = Tree::new().await;
    let (left, in_use, other) =
        (".envctl-0000000000000001", ".envctl-0000000000000002", ".envctl-0000000000000003");
    for name in [left, in_use] {
        fs::copy(tree.path("sub/attached.envelope"), tree.path(name)).unwrap();
    }
    fs::write(tree.path(other), "somebody's plaintext").unwrap();
    let used = LockedFile::open(&tree.path(in_use)).unwrap();
    let plan = Job::new(Arc::new(Files::new(vec![tree.folder.path().into()])), a_to_b(&tree.keys));
    plan.plan(&Control::new(), |_| {}).await.unwrap();
    assert!(tree.path(left).exists(), "a plan writes nothing");
    tree.run(a_to_b(&tree.keys)).await;
    assert!(!tree.path(left).exists());
    assert!(tree.path(in_use).exists() && tree.path(other).exists());
    drop(used);
    tree.run(a_to_b(&tree.keys)).await;
    assert!(!tree.path(in_use).exists() && tree.path(other).exists());
}

/// A detached envelope before and after it was reencrypted: header and payload.
async fn detached(tree: &Tree) -> [(Vec<u8>, Vec<u8>); 2] {
    let name = "sub/deep/detached.envelope";
    let read = || (fs::read(tree.path(name)).unwrap(), fs::read(payload_path(&tree.path(name))).unwrap());
    let old = read();
    tree.run(a_to_b(&tree.keys).reencrypting()).await;
    [old, read()]
}

#[tokio::test]
async fn a_detached_pair_that_was_cut_off_between_its_files_is_finished_by_the_next_job_whatever_it_does() {
    let name = "sub/deep/detached.envelope";
    for reencrypts in [false, true] {
        for step in ["before the payload", "before the header", "before the journal goes"] {
            let tree = Tree::new().await;
            let [old, new] = detached(&tree).await;
            let (header, payload) = match step {
                "before the payload" => (&old.0, &old.1),
                "before the header" => (&old.0, &new.1),
                _ => (&new.0, &new.1),
            };
            fs::write(tree.path(name), header).unwrap();
            fs::write(payload_path(&tree.path(name)), payload).unwrap();
            fs::write(tree.path("sub/deep/detached.envelope.reencrypt-journal"), &new.0).unwrap();
            if step == "before the payload" {
                fs::write(tree.path("sub/deep/detached.envelope.reencrypt-payload"), &new.1).unwrap();
            }
            assert!(is_half_reencrypted(&tree.path(name)), "{step}");
            // The plan says so, and leaves it.
            let plan =
                Job::new(tree.source(), a_to_b(&tree.keys)).plan(&Control::new(), |_| {}).await.unwrap();
            assert_eq!(plan.failed, 1, "{step}");
            let goal = a_to_b(&tree.keys);
            let report = tree.run(if reencrypts { goal.reencrypting() } else { goal }).await;
            assert_eq!(report.totals.failed, 0, "{step}: {report}");
            assert!(!is_half_reencrypted(&tree.path(name)), "{step}");
            tree.check("b").await;
        }
    }
}

/// A header that has another name is replaced for neither of them.
#[tokio::test]
async fn a_detached_header_that_cannot_be_replaced_keeps_its_payload() {
    let tree = Tree::new().await;
    let header = tree.path("sub/deep/detached.envelope");
    let (outside, payload) = (tempfile::tempdir_in(tree.path(".")).unwrap(), payload_path(&header));
    fs::hard_link(&header, outside.path().join("another-name")).unwrap();
    let before = (fs::read(&header).unwrap(), fs::read(&payload).unwrap());
    let source = Arc::new(Files::new(vec![header.clone()]));
    let failed = failures(Job::new(source, a_to_b(&tree.keys).reencrypting())).await;
    assert!(failed.len() == 1 && failed[0].contains("hard links"), "{failed:?}");
    assert_eq!((fs::read(&header).unwrap(), fs::read(&payload).unwrap()), before);
    assert!(!is_half_reencrypted(&header));
}

#[tokio::test]
async fn a_journal_brings_no_older_header_back() {
    let name = "sub/deep/detached.envelope";
    let tree = Tree::new().await;
    let [_, new] = detached(&tree).await;
    // Cut off before the journal went, and rewrapped since.
    let both = tree.keys.envelope("bc");
    let header = Header::parse_exact(&new.0).unwrap();
    let rewrapped = both.rewrap_header(header, &EncryptionContext::new()).await.unwrap();
    fs::write(tree.path(name), rewrapped.to_bytes()).unwrap();
    fs::write(tree.path("sub/deep/detached.envelope.reencrypt-journal"), &new.0).unwrap();
    let goal = Goal::edit(tree.keys.keys("c"), Vec::new()).open_with(tree.keys.keys("b"));
    let source = Arc::new(Files::new(vec![tree.path("sub/deep")]));
    assert_eq!(run(Job::new(source, goal)).await.totals.in_target_state, 1);
    assert_eq!(fs::read(tree.path(name)).unwrap(), rewrapped.to_bytes());
    assert_eq!(tree.files(), files_of_a_new_tree(), "the journal is gone");
}

#[tokio::test]
async fn a_detached_header_without_its_payload_is_not_passed_over_when_it_shall_be_reencrypted() {
    let tree = Tree::new().await;
    fs::remove_file(tree.path("sub/deep/detached.sealed")).unwrap();
    let failed = failures(Job::new(tree.source(), a_to_b(&tree.keys).reencrypting())).await;
    assert_eq!(failed.len(), 1);
    assert!(failed[0].contains("its payload is not beside it"), "{failed:?}");
}

/// It would wait for the other end for ever.
#[tokio::test]
async fn pipes_in_the_place_of_payload_and_journal_are_not_opened() {
    for name in ["detached.sealed", "detached.envelope.reencrypt-journal"] {
        let tree = Tree::new().await;
        let pipe = tree.path("sub/deep").join(name);
        let _ = fs::remove_file(&pipe);
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let report = tree.run(a_to_b(&tree.keys)).await;
        assert_eq!((report.totals.failed, report.totals.rewrapped), (0, 4), "{name}: {report}");
    }
}

#[tokio::test]
async fn a_journal_of_a_pair_that_fits_nothing_changes_nothing() {
    let tree = Tree::new().await;
    let name = "sub/deep/detached.envelope";
    let [old, new] = detached(&tree).await;
    fs::write(tree.path(name), &old.0).unwrap();
    let foreign =
        tree.keys.envelope("a").encrypt_detached(b"other", &EncryptionContext::new()).await.unwrap();
    fs::write(payload_path(&tree.path(name)), &foreign.1).unwrap();
    let journal = tree.path("sub/deep/detached.envelope.reencrypt-journal");
    fs::write(&journal, &new.0).unwrap();
    let failed = failures(Job::new(tree.source(), a_to_b(&tree.keys))).await;
    assert_eq!(failed.len(), 1);
    assert!(
        failed[0].contains("its payload is of neither its header nor the one in its journal"),
        "{failed:?}"
    );
    assert_eq!(fs::read(tree.path(name)).unwrap(), old.0);
    assert_eq!(fs::read(journal).unwrap(), new.0);
}

#[tokio::test]
async fn a_list_names_the_files_and_what_it_names_must_be_there_and_an_envelope() {
    let tree = Tree::new().await;
    let line = |name: &str| format!("{}\n", tree.path(name).display());
    let list = ["padded.envelope", "sub/notes.txt", "absent"].map(line).concat();
    let source = Arc::new(Files::listed(std::io::Cursor::new(list)));
    let mut failed = failures(Job::new(source, a_to_b(&tree.keys))).await;
    failed.sort();
    assert_eq!(
        failed,
        [
            format!("{}: it is not there", tree.path("absent").display()),
            format!("{}: it is not an envelope", tree.path("sub/notes.txt").display()),
        ]
    );
    assert!(tree.opens("padded.envelope", "b").await);
    assert!(tree.opens("sub/attached.envelope", "a").await);
}

#[tokio::test]
async fn a_list_whose_reader_panics_is_not_taken_for_one_that_ended() {
    struct Panics;
    impl std::io::Read for Panics {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            panic!("the reader of the list")
        }
    }
    let job = Job::new(Arc::new(Files::listed(Panics)), a_to_b(&Keys::new()));
    let report = run(job).await;
    assert_eq!((report.totals.failed, report.finished), (1, false), "{report}");
}

#[tokio::test]
async fn what_was_last_written_before_a_time_is_changed_whatever_its_keys() {
    let tree = Tree::new().await;
    tree.run(a_to_b(&tree.keys)).await;
    let old = fs::File::options().write(true).open(tree.path("padded.envelope")).unwrap();
    old.set_modified(SystemTime::now() - Duration::from_secs(86_400)).unwrap();
    let goal = || Goal::only(tree.keys.keys("b")).older_than(SystemTime::now() - Duration::from_secs(3600));
    let report = tree.run(goal()).await;
    assert_eq!((report.totals.rewrapped, report.totals.in_target_state), (1, 3));
    assert_eq!(tree.run(goal()).await.totals.in_target_state, 4, "it was written now");
}

#[tokio::test]
async fn a_list_that_is_one_line_without_an_end_is_refused() {
    let source = Arc::new(Files::listed(std::io::repeat(b'x')));
    let failed = failures(Job::new(source, a_to_b(&Keys::new()))).await;
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].ends_with("a line of the list is longer than the name of any file"), "{failed:?}");
}

#[tokio::test]
async fn a_header_that_another_process_changed_is_not_written_over() {
    use envelope_rotation::{Item, Source, SourceError};
    use std::os::unix::ffi::OsStrExt;
    let tree = Tree::new().await;
    for name in KINDS {
        let item = Item::named(tree.path(name).as_os_str().as_bytes());
        let source = tree.source();
        let stored = source.read(&item).await.unwrap();
        // Of another rewrap, which is faster.
        tree.write(name, "c").await;
        let before = fs::read(tree.path(name)).unwrap();
        let (_, new) = {
            let opened = envelope_sdk::Keyring::new()
                .decrypt(tree.keys.provider(), crate::uri('a'))
                .encrypt(tree.keys.provider(), crate::uri('b'));
            let envelope =
                Envelope::new(opened).pad_headers_to(if name.contains("padded") { 4096 } else { 0 });
            ((), envelope.rewrap_header(stored.header.clone(), &EncryptionContext::new()).await.unwrap())
        };
        let error = source.commit(&item, &stored, &new).await.unwrap_err();
        assert!(matches!(error, SourceError::Conflict), "{name}: {error:?}");
        assert_eq!(fs::read(tree.path(name)).unwrap(), before, "{name}");
        let locked = LockedFile::open(Path::new(&tree.path(name))).unwrap();
        let error = source.commit(&item, &stored, &new).await.unwrap_err();
        assert!(matches!(error, SourceError::Busy), "{name}: {error:?}");
        drop(locked);
    }
}

#[tokio::test]
async fn a_file_that_is_gone_when_it_is_to_be_written_is_read_again() {
    use envelope_rotation::{Item, Source, SourceError};
    let tree = Tree::new().await;
    let source = Files::new(vec![tree.path("sub")]);
    let item = Item::found(tree.path("sub/attached.envelope").as_os_str().as_encoded_bytes());
    let stored = source.read(&item).await.unwrap();
    fs::remove_file(tree.path("sub/attached.envelope")).unwrap();
    let said = source.commit(&item, &stored, &stored.header).await;
    assert!(matches!(said, Err(SourceError::Conflict)), "{said:?}");
}
