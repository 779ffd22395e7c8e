//! Patterns of names, such as those of keys and actors: text in which `*` stands for any characters, none too.
//!
//! Nothing else has a meaning of its own, and there is no way to write a `*` that means itself: no key URI has one. A
//! pattern fits the whole of a text or does not fit. Letters are compared as they are, bytes for bytes.
//!
//! Whoever chooses the text, or the pattern, cannot make it slow: each `*` takes the leftmost place that there is, which
//! leaves the most for what follows, so that nothing is tried twice. The time grows with the length of the text and of
//! the pattern together.

use memchr::memmem::Finder;

/// A pattern that is used more than once.
///
/// ```
/// use envelope_sdk::pattern::Pattern;
///
/// let keys = Pattern::new("awskms:///arn:aws:kms:eu-*:111122223333:key/*");
/// assert!(keys.matches("awskms:///arn:aws:kms:eu-central-1:111122223333:key/1234abcd"));
/// assert!(!keys.matches("awskms:///arn:aws:kms:us-east-1:111122223333:key/1234abcd"));
/// ```
#[derive(Debug, Clone)]
pub struct Pattern {
    /// What stands before the first star: all of it where there is none.
    first: Box<str>,
    behind: Option<Behind>,
}

/// What stands behind the first star.
#[derive(Debug, Clone)]
struct Behind {
    /// Between two stars. Prepared, since to prepare takes longer than to find.
    between: Box<[Finder<'static>]>,
    last: Box<str>,
}

impl Pattern {
    /// The pattern that is written so. Each text is one.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut parts = text.split('*');
        let first = parts.next().unwrap_or_default().into();
        let behind = parts.next_back().map(|last| Behind {
            between: parts.map(|part| Finder::new(part).into_owned()).collect(),
            last: last.into(),
        });
        Self { first, behind }
    }

    /// Whether it fits all of `text`.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let Some(Behind { between, last }) = &self.behind else { return is_same(&self.first, text) };
        // The ends first: they do not overlap.
        let rest = text.strip_prefix(&*self.first).and_then(|rest| rest.strip_suffix(&**last));
        let Some(mut rest) = rest.map(str::as_bytes) else { return false };
        for part in between {
            let Some(at) = part.find(rest) else { return false };
            rest = &rest[at + part.needle().len()..];
        }
        true
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        let parts = |Behind { between, last }: &Behind| {
            let between: Vec<Box<[u8]>> = between.iter().map(|part| part.needle().into()).collect();
            (between, last.clone())
        };
        self.first == other.first && self.behind.as_ref().map(parts) == other.behind.as_ref().map(parts)
    }
}

impl Eq for Pattern {}

/// Whether `pattern` fits all of `text`, for a pattern that is used once.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    Pattern::new(pattern).matches(text)
}

/// Names that are compared with each other are often as long as each other and begin alike, as `service-1` and `service-2` do: the
/// last byte tells most of them apart without a call.
fn is_same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.as_bytes().last() == b.as_bytes().last() && a == b
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
