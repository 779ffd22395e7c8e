//! What is no policy is refused, with the rule and what is wrong with it.

use envelope_policy::{Actor, Operation, Policy, Request};

fn refused(rules: &str) -> String {
    Policy::parse(&format!("version = 1\n{rules}")).unwrap_err().to_string()
}

#[test]
fn the_policy_of_the_readme_is_one() {
    let readme = include_str!("../../README.md");
    let text = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let policy = Policy::parse(text).unwrap();
    let rules: Vec<_> = policy.rules().collect();
    assert_eq!(rules, ["agents-look", "own-tenant", "weekend-jobs", "no-destruction"]);
    assert!(policy.asks_for_states());
}

#[test]
fn what_is_not_right_is_refused_by_rule_and_reason() {
    let rule = |words: &str| refused(&format!("[[rule]]\nname = 'r'\neffect = 'allow'\n{words}"));
    for (words, why) in [
        ("actor = []", "rule `r`: `actor` is an empty list: leave it out for all"),
        ("operation = []", "rule `r`: `operation` is an empty list: leave it out for all"),
        ("key = []", "rule `r`: `key` is an empty list: leave it out for all"),
        ("actor = ['alice']", "rule `r`: an `actor` is library:NAME, cli:NAME or mcp:NAME"),
        ("operation = ['open']", "rule `r`: an operation is use, look, manage, or one of wrap"),
        ("key = ['main']", "rule `r`: `key`: it must begin with a scheme"),
        ("context = { tenant = '$tenant' }", "rule `r`: after `$` there is `actor.tenant`"),
        ("context = { '' = 'a' }", "rule `r`: an entry of the context has an empty name"),
        ("time = {}", "rule `r`: `time` says nothing"),
        ("limit = '5'", "rule `r`: a limit is written `10/s`"),
        ("burst = 5", "rule `r`: `burst` is that of a `limit`"),
        ("require = { recipients = 17 }", "rule `r`: `require.recipients` is 1 to 16"),
        ("require = { states = ['enabled'] }", "rule `r`: `require.states`: a state is one of pre-active"),
        ("require = { states = [] }", "rule `r`: `require.states` is an empty list"),
        (
            "operation = ['destroy']\nrequire = { states = ['deactivated'] }",
            "rule `r`: `require` but for its `context`",
        ),
        ("keys = ['local:a']", "unknown field `keys`"),
        ("require = { recipient = 2 }", "unknown field `recipient`"),
    ] {
        let error = rule(words);
        assert!(error.starts_with(why), "{words}: {error}");
    }
    for (text, why) in [
        ("default = 'maybe'", "unknown variant `maybe`, expected `allow` or `deny`, line 2"),
        ("[[rule]]\neffect = 'allow'", "missing field `name`"),
        ("[[rule]]\nname = 'a b'\neffect = 'deny'", "rule 1: a name is 1 to 64 lower-case letters"),
        (
            "[[rule]]\nname = 'a'\neffect = 'deny'\nkey = ['pkcs11:token=t;object=k']",
            "rule `a`: `key`: a key of a token has many names",
        ),
        (
            "[[rule]]\nname = 'a'\neffect = 'deny'\nlimit = '1/s'",
            "rule `a`: `require` and `limit` are for what is allowed",
        ),
        (
            "[[rule]]\nname = 'a'\neffect = 'deny'\n[[rule]]\nname = 'a'\neffect = 'allow'",
            "rule `a`: another one has that name",
        ),
    ] {
        let error = refused(text);
        assert!(error.starts_with(why), "{text}: {error}");
    }
    assert_eq!(Policy::parse("version = 2").unwrap_err().to_string(), "version 2 is not known here: 1 is");
    assert!(Policy::parse("").unwrap_err().to_string().starts_with("missing field `version`"));
}

#[test]
fn a_pattern_that_is_written_as_no_key_is_written_is_refused_with_the_right_way() {
    let error = refused(
        "[[rule]]\nname = 'r'\neffect = 'deny'\nkey = ['awskms:arn:aws:kms:eu-west-1:111122223333:key/*']",
    );
    assert_eq!(error, "rule `r`: `key`: keys of this scheme begin with awskms:///arn:");
}

#[test]
fn rules_behind_one_that_takes_everything_are_told() {
    let rule = |name: &str, words: &str| format!("[[rule]]\nname = '{name}'\neffect = 'allow'\n{words}\n");
    let text = format!("version = 1\n{}{}{}", rule("a", "actor = ['cli:*']"), rule("b", ""), rule("c", ""));
    assert_eq!(Policy::parse(&text).unwrap().unreachable().collect::<Vec<_>>(), ["c"]);
}

#[test]
fn what_could_not_be_allowed_is_told_with_the_rule_that_denies_it() {
    let text = r#"
        version = 1
        default = "deny"
        [[rule]]
        name = "no-strangers"
        effect = "deny"
        actor = ["mcp:stranger"]
        [[rule]]
        name = "some-keys"
        effect = "deny"
        key = ["local:secret"]
        [[rule]]
        name = "inspect"
        effect = "allow"
        operation = ["inspect"]
    "#;
    let policy = Policy::parse(text).unwrap();
    let said = |actor: &str, operation| {
        policy
            .check_may(&Request::new(&Actor::parse(actor).unwrap(), operation), 0)
            .map_err(|rule| rule.map(str::to_owned))
    };
    assert_eq!(said("mcp:stranger", Operation::Inspect), Err(Some("no-strangers".into())));
    // Whether the second rule denies it depends on the key.
    assert_eq!(said("mcp:agent", Operation::Inspect), Ok(()));
    assert_eq!(said("mcp:agent", Operation::List), Err(None));
}

/// Otherwise whoever can see no key at all would be taken for one who sees some.
#[test]
fn who_only_looks_has_no_context_that_could_come_later() {
    let rule = |condition: &str| {
        format!(
            "version = 1\ndefault = 'deny'\n[[rule]]\nname = 'own'\neffect = 'allow'\noperation = ['look', 'use']\n{condition}"
        )
    };
    for (condition, by) in [
        ("context = { tenant = '*' }", None),
        ("require = { context = { tenant = '42' } }", Some("own".to_owned())),
    ] {
        let policy = Policy::parse(&rule(condition)).unwrap();
        let actor = Actor::parse("mcp:agent").unwrap();
        let said = |operation| {
            policy.check_may(&Request::new(&actor, operation), 0).map_err(|rule| rule.map(str::to_owned))
        };
        for operation in [Operation::Inspect, Operation::List] {
            assert_eq!(said(operation), Err(by.clone()), "{condition}");
        }
        assert_eq!(said(Operation::Unwrap), Ok(()), "{condition}: it may come yet");
    }
}
