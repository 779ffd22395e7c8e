//! Whatever is read as a header has that one encoding, and every reader agrees.
#![no_main]

use envelope_fuzz::memory::bounded;
use envelope_sdk::{
    DecryptError, FormatError, Header, KeyUri, Kind,
    format::{MAC_LEN, MAX_BODY_LEN, MAX_RECIPIENTS, PREAMBLE_LEN},
    stream::{StreamError, read_header},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let parsed = bounded(data.len(), || Header::parse(data));
    let mut rest = data;
    match (&parsed, bounded(data.len(), || read_header(&mut rest))) {
        (Ok((header, len)), Ok(streamed)) => {
            assert_eq!(*header, streamed);
            assert_eq!(rest.len(), data.len() - len, "the reader stands at the payload");
            assert!(rest.is_empty() || header.kind() == Kind::Attached, "only a payload may follow");
        }
        (Ok((header, len)), Err(StreamError::Decrypt(DecryptError::Format(error)))) => {
            assert_eq!(error, FormatError::TrailingData { what: "the header" });
            assert!(data.len() > *len && header.kind() != Kind::Attached);
        }
        (Err(error), Err(StreamError::Decrypt(DecryptError::Format(streamed)))) => {
            assert_eq!(*error, streamed)
        }
        (parsed, streamed) => panic!("{parsed:?} and {streamed:?}"),
    }
    let Ok((header, len)) = parsed else { return };
    let bytes = &data[..len];
    assert_eq!(header.to_bytes(), bytes);
    assert_eq!(header.len(), len);
    assert_eq!(Header::parse_exact(bytes).as_ref(), Ok(&header));
    assert!(matches!(Header::parse(&bytes[..len - 1]), Err(FormatError::Truncated { .. })));
    if data.len() > len {
        assert!(matches!(Header::parse_exact(data), Err(FormatError::TrailingData { .. })));
    }
    check_fields(&header);
});

fn check_fields(header: &Header) {
    assert!(header.len() <= PREAMBLE_LEN + MAX_BODY_LEN + MAC_LEN);
    assert!((1..=MAX_RECIPIENTS).contains(&header.recipients().len()));
    for (position, recipient) in header.recipients().iter().enumerate() {
        let uri = recipient.key_uri();
        assert!(uri.is_resolved());
        assert_eq!(KeyUri::parse(uri.as_str()).as_ref(), Ok(uri));
        let earlier = &header.recipients()[..position];
        assert!(
            earlier
                .iter()
                .all(|other| (other.key_uri(), other.key_version()) != (uri, recipient.key_version()))
        );
    }
    let (stored, withheld) = (header.stored_context(), header.withheld());
    assert!(stored.len() + withheld.len() <= 64);
    assert!(stored.iter().map(|(name, value)| 4 + name.len() + value.len()).sum::<usize>() + 2 <= 8192);
    assert!(!stored.contains_key("") && withheld.iter().all(|name| !name.is_empty()));
    assert!(withheld.is_sorted_by(|one, two| one < two));
    assert!(withheld.iter().all(|name| !stored.contains_key(name)));
}
