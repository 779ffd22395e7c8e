//! Where the password of a role is: in `PGPASSWORD`, or in the file of passwords of libpq.

use std::path::PathBuf;

use envelope_files::trust::{self, Purpose};
use zeroize::Zeroizing;

use super::{SqlError, url::Environment};

/// The password, if there is one: a server may ask for none.
pub(super) fn find(
    environment: Environment<'_>,
    host: &str,
    port: u16,
    database: &str,
    user: &str,
) -> Result<Option<Zeroizing<Vec<u8>>>, SqlError> {
    if let Some(password) = environment("PGPASSWORD").filter(|password| !password.is_empty()) {
        return Ok(Some(Zeroizing::new(password.into_bytes())));
    }
    let named = environment("PGPASSFILE").filter(|path| !path.is_empty()).map(PathBuf::from);
    let path = named.or_else(|| Some(PathBuf::from(environment("HOME")?).join(".pgpass")));
    let Some(path) = path else { return Ok(None) };
    let file = match trust::read(&path, Purpose::Secret, MAX_FILE) {
        Ok(file) => Zeroizing::new(file),
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // As libpq does with sockets.
    let host = if host.starts_with('/') { "localhost" } else { host };
    let port = port.to_string();
    Ok(look_up(&file, [host, &port, database, user]))
}

/// The last field of the first line whose other fields are these, or `*`.
fn look_up(file: &[u8], wanted: [&str; 4]) -> Option<Zeroizing<Vec<u8>>> {
    file.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"#")).find_map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut rest = line;
        for wanted in wanted {
            let (field, after) = field(rest);
            if field.as_slice() != b"*" && field.as_slice() != wanted.as_bytes() {
                return None;
            }
            rest = after?;
        }
        Some(field(rest).0).filter(|password| !password.is_empty())
    })
}

/// The bytes up to a `:`, without the `\` before what it escapes; and what follows the `:`.
fn field(line: &[u8]) -> (Zeroizing<Vec<u8>>, Option<&[u8]>) {
    // No shorter, so that no copy of it is left where it grew.
    let mut field = Zeroizing::new(Vec::with_capacity(line.len()));
    let mut at = 0;
    while at < line.len() {
        match line[at] {
            b':' => return (field, Some(&line[at + 1..])),
            b'\\' if at + 1 < line.len() => at += 1,
            _ => {}
        }
        field.push(line[at]);
        at += 1;
    }
    (field, None)
}

const MAX_FILE: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str) -> Option<String> {
        let password = look_up(file.as_bytes(), ["db.example.org", "5432", "shop", "rotate"])?;
        Some(String::from_utf8(password.to_vec()).unwrap())
    }

    #[test]
    fn the_first_line_that_fits_has_the_password() {
        let file = "#db.example.org:5432:shop:rotate:no\nother:*:*:*:no\n*:5432:shop:rotate:a\\:b\\\\c\n*:*:*:*:late";
        assert_eq!(found(file).as_deref(), Some("a:b\\c"));
        assert_eq!(found("*:*:*:*:late").as_deref(), Some("late"));
        for none in ["", "db.example.org:5432:shop", "db.example.org:5433:shop:rotate:x", "*:*:*:*:", "\\"] {
            assert_eq!(found(none), None, "{none}");
        }
    }
}
