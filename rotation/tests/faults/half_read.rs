//! Headers that are read while another process writes them in place.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use envelope_files::disk::{Change, Disk, Verdict};
use envelope_rotation::{Control, Files, Goal, Job, Key, Usage};
use envelope_sdk::{EncryptionContext, Header};

use super::{Bench, Content, Kind, NAME, folder, uri, with_disk};

/// Ends the rewrap of another process before a lock is asked for: whoever asks has read what was there before.
struct Other {
    path: PathBuf,
    ended: Option<Vec<u8>>,
}

impl Disk for Other {
    fn before(&mut self, change: Change<'_>) -> Verdict {
        if matches!(change, Change::Lock(_))
            && let Some(ended) = self.ended.take()
        {
            fs::write(&self.path, ended).unwrap();
        }
        Verdict::Go
    }

    fn after(&mut self, _change: Change<'_>) {}
}

/// What a reader may see of a header that is being written: the front or the end of the new one, of each length, with
/// the rest of the old one or of a sector that has not arrived.
fn half_written(old: &[u8], new: &[u8]) -> Vec<Vec<u8>> {
    let changed = old.iter().zip(new).enumerate().filter(|(_, (old, new))| old != new).map(|(at, _)| at);
    let mut seen = Vec::new();
    for cut in changed {
        seen.push([&new[..cut], &old[cut..]].concat());
        seen.push([&old[..cut], &new[cut..]].concat());
        let lost = 16.max(cut)..(cut + 64).min(old.len());
        let mut with_loss = new.to_vec();
        with_loss[lost].fill(0);
        seen.push(with_loss);
    }
    seen.retain(|seen| seen != old && seen != new);
    seen
}

#[test]
fn a_file_that_another_process_rewraps_meanwhile_is_not_called_damaged() {
    let bench = Bench::new();
    let sealed = bench.sealed(Kind::Padded).remove(Path::new(NAME)).unwrap();
    let old = Header::parse(&sealed).unwrap().0;
    // To both: there are more recipients then, and more is rewritten.
    let to_both = bench.envelope(&["a", "b"]).pad_headers_to(4096);
    let context = EncryptionContext::new();
    let new = to_both.rewrap_header(old.clone(), &context);
    let new = bench.runtime.block_on(new).unwrap().to_bytes();
    assert_eq!(new.len(), old.len(), "it is written in place");
    let ended = [&new, &sealed[new.len()..]].concat();
    let (mut damaged, half) = (0, half_written(&old.to_bytes(), &new));
    for (number, half) in half.iter().enumerate() {
        let seen = [half, &sealed[half.len()..]].concat();
        damaged += u32::from(Header::parse(&seen).is_err());
        let folder = folder(&Content::from([(NAME.into(), seen.clone())]));
        let path = folder.path().join(NAME);
        let disk = || Other { path: path.clone(), ended: Some(ended.clone()) };
        let source = || Files::new(vec![folder.path().to_owned()]);
        let key = |name| Key::new(bench.provider(), uri(name));
        let job = || Job::new(Arc::new(source()), Goal::only(vec![key("b")]).open_with(vec![key("a")]));

        let failed = with_disk(disk(), || {
            let mut failed = Vec::new();
            let source = source();
            let usage = Usage::of(&source, |_, error| failed.push(error.to_string()));
            bench.runtime.block_on(usage);
            failed
        });
        assert_eq!(failed, [""; 0], "usage, {number}");

        fs::write(&path, &seen).unwrap();
        let plan = with_disk(disk(), || bench.runtime.block_on(job().plan(&Control::new(), |_| {})).unwrap());
        assert_eq!((plan.failed, plan.passed_over), (0, 0), "plan, {number}: {plan}");

        fs::write(&path, &seen).unwrap();
        let report = with_disk(disk(), || bench.job(folder.path(), false)).unwrap();
        assert_eq!((report.totals.failed, report.totals.passed_over), (0, 0), "job, {number}: {report}");
        bench.check(folder.path(), &["b"], &format!("job, {number}"));
    }
    println!("{} halves of a header, of which {damaged} do not look like one", half.len());
    assert!(damaged > 0 && half.len() > 300, "{damaged} of {}", half.len());
}
