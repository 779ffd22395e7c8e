//! A context has one encoding, and no two contexts have the same.
#![no_main]

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use envelope_fuzz::memory::bounded;
use envelope_sdk::EncryptionContext;
use libfuzzer_sys::fuzz_target;

/// Two contexts. Both may cut names and values out of the same text, which is
/// how an ambiguous encoding would show.
#[derive(Debug, Arbitrary)]
struct Input<'a> {
    text: &'a str,
    one: Plan<'a>,
    two: Plan<'a>,
}

#[derive(Debug, Arbitrary)]
struct Plan<'a> {
    cuts: Vec<u8>,
    entries: Vec<Entry<'a>>,
    /// One more entry makes the encoding so much longer than the limit.
    over_limit: Option<i8>,
}

#[derive(Debug, Arbitrary)]
struct Entry<'a> {
    name: &'a str,
    value: &'a str,
    repeat: u8,
    withheld: bool,
}

fuzz_target!(|input: Input<'_>| {
    let (one, two) = (input.one.map(input.text), input.two.map(input.text));
    let (encoded_one, encoded_two) = (check(&one), check(&two));
    if let (Some(encoded_one), Some(encoded_two)) = (encoded_one, encoded_two) {
        let same = one
            .iter()
            .map(|(name, (value, _))| (name, value))
            .eq(two.iter().map(|(name, (value, _))| (name, value)));
        assert_eq!(same, encoded_one == encoded_two);
    }
});

type Map = BTreeMap<String, (String, bool)>;

impl Plan<'_> {
    fn map(&self, text: &str) -> Map {
        let (mut map, mut rest) = (Map::new(), text);
        for cuts in self.cuts.chunks_exact(2) {
            let name = take(&mut rest, cuts[0]);
            let value = take(&mut rest, cuts[1]);
            map.insert(name.into(), (value.into(), cuts[0] >= 128));
        }
        for entry in &self.entries {
            // Past the limit of 8 KiB is far enough.
            let times = usize::from(entry.repeat).min(16 * 1024 / entry.value.len().max(1));
            map.insert(entry.name.into(), (entry.value.repeat(times), entry.withheld));
        }
        if let Some(over) = self.over_limit {
            let name = "filling";
            map.remove(name);
            let target = MAX_LEN.saturating_add_signed(over.into());
            if let Some(len) = target.checked_sub(encoded_len(&map) + 4 + name.len()) {
                map.insert(name.into(), ("x".repeat(len), false));
            }
        }
        map
    }
}

fn take<'t>(rest: &mut &'t str, len: u8) -> &'t str {
    let (taken, left) = rest.split_at(rest.floor_char_boundary(usize::from(len % 128)));
    *rest = left;
    taken
}

fn encoded_len(map: &Map) -> usize {
    2 + map.iter().map(|(name, (value, _))| 4 + name.len() + value.len()).sum::<usize>()
}

/// The encoding of a context, if it is within the limits, compared with one
/// made here from the specification.
fn check(map: &Map) -> Option<Vec<u8>> {
    let len = encoded_len(map);
    let build = || {
        // In descending order: the order of the calls means nothing.
        map.iter().rev().fold(EncryptionContext::new(), |context, (name, (value, withheld))| {
            if *withheld { context.withhold(name, value) } else { context.with(name, value) }
        })
    };
    let context = build();
    assert!(context.iter().eq(map.iter().map(|(name, (value, withheld))| (&**name, &**value, *withheld))));
    let full = bounded(len, || context.full());
    let fits = !map.contains_key("") && map.len() <= 64 && len <= MAX_LEN;
    assert_eq!(full.is_ok(), fits, "{full:?}");
    let full = full.ok()?;
    assert!(full.entries().eq(map.iter().map(|(name, (value, _))| (&**name, &**value))));
    let mut expected = Vec::from(u16::try_from(map.len()).expect("at most 64").to_be_bytes());
    for (name, (value, _)) in map {
        for text in [name, value] {
            expected.extend(u16::try_from(text.len()).expect("at most 8192").to_be_bytes());
            expected.extend(text.bytes());
        }
    }
    assert_eq!(full.as_bytes(), expected);
    Some(expected)
}

const MAX_LEN: usize = 8192;
