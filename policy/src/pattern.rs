//! Patterns of key URIs and actors: text in which `*` stands for any characters, none too.

use std::borrow::Cow;

use envelope_sdk::{KeyUri, pattern};

/// A text with `*` in it. Nothing else has a meaning of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: pattern::Pattern,
    /// The letters A to Z mean the same as a to z.
    folds: bool,
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Self {
        Self { text: pattern::Pattern::new(text), folds: false }
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
        let text = if self.folds { text.to_ascii_lowercase().into() } else { Cow::Borrowed(text) };
        self.text.matches(&text)
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
    use super::*;

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
}
