//! Patterns of key URIs and actors: text in which `*` stands for any characters, none too.

use envelope_sdk::KeyUri;

/// A text with `*` in it. Nothing else has a meaning of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// What stands before, between and behind the stars; one where there is no star.
    parts: Box<[Box<str>]>,
    /// The letters A to Z mean the same as a to z.
    folds: bool,
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Self {
        Self { parts: text.split('*').map(Into::into).collect(), folds: false }
    }

    /// A pattern of key URIs. What could never match, since keys are written in another way, is refused: a denial
    /// that denies nothing would not be noticed.
    pub(crate) fn of_keys(text: &str) -> Result<Self, String> {
        let literal = text.split('*').next().unwrap_or_default();
        if text == "*" {
            return Ok(Self::new(text));
        }
        let Some((scheme, _)) = literal.split_once(':') else {
            return Err("it must begin with a scheme, such as `awskms:`, or be `*`".into());
        };
        if scheme.is_empty() || scheme.chars().any(|c| !matches!(c, 'a'..='z' | '0'..='9' | '+' | '-' | '.'))
        {
            return Err("a scheme is written in lower case".into());
        }
        match KeyUri::parse(&text.replace('*', STAND_IN)) {
            Ok(key) if key.as_str() == text.replace('*', STAND_IN) => Ok(Self::of_names(text)),
            Ok(key) => Err(format!("keys like this one are written {}", key.as_str().replace(STAND_IN, "*"))),
            // Such as `awskms:*`, of which only the beginning is that of a key.
            Err(_) if text.contains('*') => match BEGINNINGS.iter().find(|(known, _)| *known == scheme) {
                Some((_, begins)) if !begins.starts_with(literal) && !literal.starts_with(begins) => {
                    Err(format!("keys of this scheme begin with {begins}"))
                }
                _ => Ok(Self::of_names(text)),
            },
            Err(error) => Err(error.to_string()),
        }
    }

    /// Azure finds a key by its name in capitals, too, and a wrap keeps the spelling that was asked for.
    fn of_names(text: &str) -> Self {
        let folds = text.starts_with("azurekeyvault:");
        if folds { Self { folds, ..Self::new(&text.to_ascii_lowercase()) } } else { Self::new(text) }
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        if self.folds { self.fits(&text.to_ascii_lowercase()) } else { self.fits(text) }
    }

    fn fits(&self, text: &str) -> bool {
        let Some((first, rest)) = self.parts.split_first() else { return false };
        let Some((last, between)) = rest.split_last() else { return &**first == text };
        let Some(mut text) = text.strip_prefix(&**first).and_then(|text| text.strip_suffix(&**last)) else {
            return false;
        };
        // The leftmost place for each leaves the most room for the next.
        for part in between {
            let Some(at) = text.find(&**part) else { return false };
            text = &text[at + part.len()..];
        }
        true
    }
}

/// In the place of a star, where a whole key is wanted: letters and digits that every scheme takes as they are.
const STAND_IN: &str = "x0x";

/// How keys are written that can be given in more than one way.
const BEGINNINGS: [(&str, &str); 8] = [
    ("arn", "awskms:///arn:"),
    ("awskms", "awskms:///arn:"),
    ("azurekeyvault", "azurekeyvault://"),
    ("gcpkms", "gcpkms://projects/"),
    ("hashivault", "hashivault://"),
    ("https", "azurekeyvault://"),
    ("local", "local:"),
    ("vault", "hashivault://"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        let matches = |pattern: &str, text: &str| Pattern::new(pattern).matches(text);
        assert!(matches("*", "") && matches("*", "local:a"));
        assert!(matches("local:a", "local:a") && !matches("local:a", "local:ab"));
        assert!(matches("local:*", "local:") && !matches("local:*", "loca"));
        assert!(matches("a*b*c", "a-b-b-c") && !matches("a*b*c", "a-c-b"));
        assert!(!matches("ab*bc", "abc"), "the ends do not overlap");
        assert!(!matches("", "a") && matches("", ""));
    }

    #[test]
    fn a_key_of_azure_is_the_same_in_capitals() {
        for pattern in ["azurekeyvault://v.vault.azure.net/keys/Payroll", "azurekeyvault://*/keys/PAY*"] {
            let pattern = Pattern::of_keys(pattern).unwrap();
            assert!(pattern.matches("azurekeyvault://v.vault.azure.net/keys/payROLL"));
            assert!(!pattern.matches("azurekeyvault://v.vault.azure.net/keys/other"));
        }
        assert!(!Pattern::of_keys("local:main").unwrap().matches("local:Main"));
    }

    #[test]
    fn a_pattern_that_no_key_can_match_is_refused() {
        for (text, why) in [
            ("loc*", "it must begin with a scheme"),
            ("", "it must begin with a scheme"),
            ("Local:*", "lower case"),
            (":*", "lower case"),
            ("arn:aws:kms:*", "begin with awskms:///arn:"),
            ("awskms:arn:aws:kms:*", "begin with awskms:///arn:"),
            ("https://v.vault.azure.net/keys/*", "written azurekeyvault://"),
            ("gcpkms:///projects/*", "begin with gcpkms://projects/"),
            ("LOCAL:main", "lower case"),
            ("local:a b", "printable"),
        ] {
            let error = Pattern::of_keys(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        for text in [
            "*",
            "local:*",
            "local:main",
            "awskms:*",
            "awskms:///*",
            "awskms:///arn:aws:kms:eu-*",
            "gcpkms:*",
            "hashivault:*",
        ] {
            assert!(Pattern::of_keys(text).is_ok(), "{text}");
        }
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
            prop_assert_eq!(Pattern::new(&pattern).matches(&text), naively(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
