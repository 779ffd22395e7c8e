//! An envelope opens when it is exactly what was sealed; a stream shows nothing
//! that is not.
#![no_main]

use std::sync::LazyLock;

use arbitrary::{Arbitrary, Unstructured};
use envelope_fuzz::{
    fixtures::{CARELESS, DATA_KEY, ENVELOPES, PLAINTEXT_LENS, careless, context, envelope, plaintext},
    mutate::{Change, apply},
    now,
};
use envelope_sdk::{DecryptError, Envelope, Header, Kind, stream};
use libfuzzer_sys::fuzz_target;

static STRICT: LazyLock<Envelope> = LazyLock::new(envelope);
static LAX: LazyLock<Envelope> = LazyLock::new(careless);

// The first byte: bit 0 a fixture with changes, or raw bytes; bit 1 the
// careless provider; bit 2 which of two fixtures; bits 3 and 4 its length; bit 5
// leaves the stream out, which takes 1 MiB each time.
fuzz_target!(|data: &[u8]| {
    let Some((&mode, data)) = data.split_first() else { return };
    let (lax, streams) = (mode & 2 != 0, mode & 32 == 0);
    let length = usize::from(mode >> 3 & 3);
    let pair = if lax { CARELESS } else { ENVELOPES[length] };
    let (original, other) = if mode & 4 == 0 { (pair[0], pair[1]) } else { (pair[1], pair[0]) };
    if mode & 1 == 0 {
        check(lax, streams, data);
    } else if let Ok(changes) = Vec::<Change>::arbitrary(&mut Unstructured::new(data)) {
        check(lax, streams, &apply(original, other, &changes));
    }
});

fn check(lax: bool, streams: bool, sealed: &[u8]) {
    let keys = if lax { &*LAX } else { &*STRICT };
    // The plaintext of the fixture that `fits`.
    let find = |fits: &dyn Fn(&[u8]) -> bool| {
        if lax {
            return CARELESS.into_iter().any(fits).then(|| plaintext(100));
        }
        let lengths = ENVELOPES.into_iter().zip(PLAINTEXT_LENS);
        let mut found = lengths.filter(|(pair, _)| pair.iter().copied().any(fits));
        found.next().map(|(_, len)| plaintext(len))
    };
    let expected = find(&|fixture| fixture == sealed);
    let decrypted = now(keys.decrypt(sealed, &context()));
    assert_eq!(decrypted.as_ref().ok(), expected.as_ref(), "{:?}", decrypted.as_ref().err());

    let Ok((header, len)) = Header::parse(sealed) else {
        assert!(matches!(decrypted, Err(DecryptError::Format(_))));
        return;
    };
    let kind = header.kind();
    if !streams {
        return;
    }
    let Ok(opened) = now(keys.unlock(header, &context())) else { return };
    // The MAC covers all of the header, so it is one of a fixture.
    let mut shown = Vec::new();
    let streamed = stream::open(&opened, &mut &sealed[len..], &mut shown);
    if kind == Kind::DataKey {
        assert_eq!(&sealed[..len], DATA_KEY);
        assert!(streamed.is_err() && shown.is_empty(), "a data key has no payload");
        return;
    }
    let whole = find(&|fixture| fixture.starts_with(&sealed[..len])).expect("only fixtures have MACs");
    assert!(whole.starts_with(&shown), "only true plaintext is shown");
    assert_eq!(streamed.ok(), expected.map(|plaintext| plaintext.len() as u64));
}
