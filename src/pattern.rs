//! Patterns of names, such as those of keys and actors: text in which `*` stands for any characters, none too.
//!
//! Nothing else has a meaning of its own, and there is no way to write a `*` that means itself: no key URI has one. A
//! pattern fits the whole of a text or does not fit. Letters are compared as they are, bytes for bytes.
//!
//! Whoever chooses the text, or the pattern, cannot make it slow: each `*` takes the leftmost place that there is, which
//! leaves the most for what follows, so that nothing is tried twice. The time grows with the length of the text and of
//! the pattern together.

/// A pattern that is used more than once.
///
/// ```
/// use envelope_sdk::pattern::Pattern;
///
/// let keys = Pattern::new("awskms:///arn:aws:kms:eu-*:111122223333:key/*");
/// assert!(keys.matches("awskms:///arn:aws:kms:eu-central-1:111122223333:key/1234abcd"));
/// assert!(!keys.matches("awskms:///arn:aws:kms:us-east-1:111122223333:key/1234abcd"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// What stands before, between and behind the stars; one where there is no star.
    parts: Box<[Box<str>]>,
}

impl Pattern {
    /// The pattern that is written so. Each text is one.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { parts: text.split('*').map(Into::into).collect() }
    }

    /// Whether it fits all of `text`.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        fits(self.parts.iter().map(|part| &**part), text)
    }
}

/// Whether `pattern` fits all of `text`, for a pattern that is used once.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    fits(pattern.split('*'), text)
}

fn fits<'p>(mut parts: impl DoubleEndedIterator<Item = &'p str>, text: &str) -> bool {
    let first = parts.next().unwrap_or_default();
    let Some(last) = parts.next_back() else { return first == text };
    // The ends first: they do not overlap.
    let Some(mut rest) = text.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else {
        return false;
    };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stands_for_anything_and_the_rest_for_itself() {
        for (pattern, text) in [
            ("*", ""),
            ("*", "local:a"),
            ("**", "a"),
            ("local:a", "local:a"),
            ("local:*", "local:"),
            ("a*b*c", "a-b-b-c"),
            ("", ""),
            ("*grün*", "ein grünes Blatt"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("local:a", "local:ab"),
            ("local:*", "loca"),
            ("*local", "local:main"),
            ("a*b*c", "a-c-b"),
            ("ab*bc", "abc"),
            ("a*a", "a"),
            ("", "a"),
            ("a?c", "abc"),
            ("A*", "ab"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    /// Backtracking would take more steps for this than there is time: 2^4000.
    #[test]
    fn a_pattern_of_stars_takes_no_longer_than_its_text() {
        let pattern = "*a".repeat(4000) + "*b";
        assert!(!matches(&pattern, &"a".repeat(100_000)));
        assert!(matches(&pattern, &("a".repeat(100_000) + "b")));
    }

    /// Tries every place of every star.
    fn naively(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|skipped| naively(rest, &text[skipped..])),
            Some((byte, rest)) => {
                text.split_first().is_some_and(|(first, text)| first == byte && naively(rest, text))
            }
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_the_definition_says(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            let expected = naively(pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(matches(&pattern, &text), expected);
            prop_assert_eq!(Pattern::new(&pattern).matches(&text), expected);
        }
    }
}
