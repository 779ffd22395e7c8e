//! Whose process this is: whom a policy knows as `cli:USER`.

use std::fs;

use envelope_policy::{Actor, ActorKind};

use crate::error::{CliError, Result};

/// `cli:` and the name that `/etc/passwd` gives the real user, or `uid-N` where it gives none. Not what the environment
/// says, which whoever starts envctl chooses.
pub(crate) fn actor() -> Result<Actor> {
    let uid = rustix::process::getuid().as_raw();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = name_of(uid, &users).and_then(|name| Actor::new(ActorKind::Cli, name).ok());
    match named {
        Some(actor) => Ok(actor),
        None => Actor::new(ActorKind::Cli, &format!("uid-{uid}"))
            .map_err(|error| CliError::other(error.to_string())),
    }
}

fn name_of(uid: u32, users: &str) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn a_user_is_found_by_number() {
        let users =
            "root:x:0:0:root:/root:/bin/bash\nbroken\n+::::::\nalice:x:1000:1000:a:b:/home/alice:/bin/sh\n";
        assert_eq!(
            (name_of(0, users), name_of(1000, users), name_of(1, users)),
            (Some("root"), Some("alice"), None)
        );
    }
}
