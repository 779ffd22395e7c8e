//! A key URI is read into one spelling, which is read into itself.
#![no_main]

use envelope_fuzz::memory::bounded;
use envelope_sdk::KeyUri;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(input) = std::str::from_utf8(data) else { return Corpus::Reject };
    match bounded(input.len(), || KeyUri::parse(input)) {
        Ok(uri) => check(input, &uri),
        Err(error) => {
            assert!(format!("{error} {error:?}").len() < 4096, "an error is not as long as its cause");
            for masked in masked(input) {
                if let Some(other) =
                    KeyUri::parse(&masked).err().filter(|other| other.reason() == error.reason())
                {
                    assert_eq!(other, error, "an error does not depend on a secret");
                }
            }
        }
    }
    Corpus::Keep
});

fn check(input: &str, uri: &KeyUri) {
    let text = uri.as_str();
    assert!(!text.is_empty() && text.len() <= KeyUri::MAX_LEN);
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(!text.contains(['#', '?']), "no fragment, no query");
    let authority = uri.rest().strip_prefix("//").and_then(|rest| rest.split('/').next());
    assert!(!authority.unwrap_or_default().contains('@'), "no user part");
    assert!(uri.scheme().bytes().all(|byte| !byte.is_ascii_uppercase()));
    assert_eq!(format!("{}:{}", uri.scheme(), uri.rest()), text);

    assert_eq!(KeyUri::parse(text).as_ref(), Ok(uri), "the normalised text is its own");
    assert_eq!(KeyUri::parse(text).map(|again| again.is_resolved()), Ok(uri.is_resolved()));
    if let Some((scheme, rest)) = input.split_once(':').filter(|_| !input.starts_with("projects/")) {
        let upper = format!("{}:{rest}", scheme.to_ascii_uppercase());
        assert_eq!(KeyUri::parse(&upper).as_ref(), Ok(uri), "schemes have no case");
    }
}

/// `input` with `x` wherever a password, a PIN or a passphrase may stand in a
/// mistyped URI.
fn masked(input: &str) -> impl Iterator<Item = String> {
    let mask =
        |from: usize, to: usize| format!("{}{}{}", &input[..from], "x".repeat(to - from), &input[to..]);
    let after = |delimiter| input.find(delimiter).map(|position| position + 1);
    let user = input.rfind('@').map(|to| mask(after(':').filter(|from| *from <= to).unwrap_or(0), to));
    let query = after('?').map(|from| mask(from, input.len()));
    let passphrase = input
        .get(..PASSPHRASE.len())
        .filter(|scheme| scheme.eq_ignore_ascii_case(PASSPHRASE))
        .map(|scheme| mask(scheme.len(), input.len()));
    [user, query, passphrase].into_iter().flatten()
}

const PASSPHRASE: &str = "passphrase:";
