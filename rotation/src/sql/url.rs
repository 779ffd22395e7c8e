//! `postgres://HOST/DATABASE?table=…`: where a table is, and which of its columns are meant.

use std::{collections::VecDeque, fmt, net::IpAddr, path::PathBuf, time::Duration};

use percent_encoding::percent_decode_str;
use tokio_postgres::{Config, config::SslMode};
use url::Url;

use super::{
    SqlError, password,
    pool::{Limits, Pool},
    tls::Connector,
};

/// What completes a URL: the variables of the environment.
pub(super) type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

/// A URL, taken apart.
pub(super) struct Address {
    config: Config,
    connector: Connector,
    pub(super) parameters: Parameters,
}

impl Address {
    /// Reads a URL and the variables that libpq reads, as far as they say where the database is and who asks.
    pub(super) fn parse(url: &str, environment: Environment<'_>) -> Result<Self, SqlError> {
        let parsed = Url::parse(url).map_err(|error| SqlError::url(format!("this is no URL: {error}")))?;
        if !matches!(parsed.scheme(), "postgres" | "postgresql") {
            return Err(SqlError::url("a table is named by a URL that begins with postgres://"));
        }
        if parsed.password().is_some() {
            return Err(SqlError::url(
                "a password has no place in a URL, which others see: set PGPASSWORD, or write it to ~/.pgpass",
            ));
        }
        if parsed.fragment().is_some() {
            return Err(SqlError::url("the URL has a part after `#`; a `#` in a name is written %23"));
        }
        let mut parameters = Parameters::parse(parsed.query().unwrap_or_default())?;
        let mut said =
            |in_url: Option<String>, name: &str, variable: &str| -> Result<Option<String>, SqlError> {
                let by_name = parameters.one(name)?;
                if in_url.is_some() && by_name.is_some() {
                    return Err(SqlError::url(format!("the URL says `{name}` twice")));
                }
                let named = in_url.or(by_name);
                Ok(named.or_else(|| environment(variable).filter(|value| !value.is_empty())))
            };
        let in_host = parsed.host_str().filter(|host| !host.is_empty()).map(decoded).transpose()?;
        let host = said(in_host, "host", "PGHOST")?.unwrap_or_else(|| "localhost".into());
        // An IPv6 address has brackets in a URL.
        let host =
            host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).map_or(host.clone(), Into::into);
        let port = said(parsed.port().map(|port| port.to_string()), "port", "PGPORT")?;
        let port: u16 = port.map_or(Ok(DEFAULT_PORT), |port| number(&port, "port"))?;
        let user = Some(parsed.username()).filter(|user| !user.is_empty()).map(decoded).transpose()?;
        let user = said(user, "user", "PGUSER")?.or_else(|| environment("USER")).ok_or_else(|| {
            SqlError::url("who asks? Name the role in the URL, postgres://ROLE@HOST/…, or by PGUSER")
        })?;
        let database =
            parsed.path().strip_prefix('/').filter(|name| !name.is_empty()).map(decoded).transpose()?;
        let database = said(database, "dbname", "PGDATABASE")?.unwrap_or_else(|| user.clone());
        let mode = said(None, "sslmode", "PGSSLMODE")?;
        let roots = said(None, "sslrootcert", "PGSSLROOTCERT")?.filter(|roots| roots != "system");
        let seconds = said(None, "connect_timeout", "PGCONNECT_TIMEOUT")?;
        let application = said(None, "application_name", "PGAPPNAME")?;

        let mut config = Config::new();
        config.user(&user).dbname(&database).port(port);
        if host.starts_with('/') {
            config.host_path(&host);
        } else if host.contains(',') {
            return Err(SqlError::url("one host is asked, and no list of them"));
        } else {
            config.host(&host);
        }
        let seconds = seconds.map_or(Ok(0), |seconds| number(&seconds, "connect_timeout"))?;
        // 0 is without end to libpq.
        if seconds > 0 {
            config.connect_timeout(Duration::from_secs(seconds));
        }
        if let Some(application) = application {
            config.application_name(application);
        }
        let connector = if needs_tls(&host, mode.as_deref())? {
            config.ssl_mode(SslMode::Require);
            Connector::verifying(roots.map(PathBuf::from).as_deref())?
        } else {
            config.ssl_mode(SslMode::Disable);
            Connector::plain()
        };
        if let Some(secret) = password::find(environment, &host, port, &database, &user)? {
            config.password(secret.as_slice());
        }
        Ok(Self { config, connector, parameters })
    }

    /// Takes `connections` and `statement_timeout`, and refuses what nobody has taken by now.
    pub(super) fn pool(mut self) -> Result<Pool, SqlError> {
        let connections = self.parameters.one("connections")?;
        let connections =
            connections.map_or(Ok(DEFAULT_CONNECTIONS), |count| number(&count, "connections"))?;
        let seconds = self.parameters.one("statement_timeout")?;
        let limits = match seconds.map(|seconds| number::<u64>(&seconds, "statement_timeout")).transpose()? {
            None => Limits::default(),
            Some(seconds) if (1..=MOST_SECONDS).contains(&seconds) => {
                Limits::of(Duration::from_secs(seconds))
            }
            Some(_) => {
                return Err(SqlError::url(format!("statement_timeout is 1 to {MOST_SECONDS} seconds")));
            }
        };
        self.parameters.finish()?;
        Ok(Pool::new(self.config, self.connector, connections, limits))
    }
}

/// The names and values behind the `?`.
pub(super) struct Parameters(VecDeque<(String, String)>);

impl Parameters {
    fn parse(query: &str) -> Result<Self, SqlError> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| SqlError::url("what follows the `?` is NAME=VALUE, joined by `&`"))?;
            Ok((decoded(name)?, decoded(value)?))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// Takes the one value of `name`, if it is there.
    pub(super) fn one(&mut self, name: &str) -> Result<Option<String>, SqlError> {
        let mut values = self.many(name);
        match (values.pop(), values.is_empty()) {
            (value, true) => Ok(value),
            _ => Err(SqlError::url(format!("the URL says `{name}` twice"))),
        }
    }

    /// Takes the one value of `name`.
    pub(super) fn required(&mut self, name: &str, means: &str) -> Result<String, SqlError> {
        let value = self.one(name)?.filter(|value| !value.is_empty());
        value.ok_or_else(|| SqlError::url(format!("the URL does not say `{name}=`, {means}")))
    }

    /// Takes all values of `name`, in their order.
    pub(super) fn many(&mut self, name: &str) -> Vec<String> {
        let (taken, left) = std::mem::take(&mut self.0).into_iter().partition(|(known, _)| known == name);
        self.0 = left;
        let taken: VecDeque<(String, String)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    fn finish(mut self) -> Result<(), SqlError> {
        match self.0.pop_front() {
            None => Ok(()),
            Some((name, _)) => {
                let name = envelope_sdk::printable::cut(&name, 40);
                Err(SqlError::url(format!("the URL says `{name}`, which means nothing here")))
            }
        }
    }
}

/// TLS everywhere but on this machine. `prefer` and `allow`, which any listener on the way can turn into plain text, are
/// as if nothing was said; `require` and `verify-ca` verify name and certificate too.
fn needs_tls(host: &str, mode: Option<&str>) -> Result<bool, SqlError> {
    let is_here = host.starts_with('/')
        || host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match mode {
        None | Some("allow" | "prefer") => Ok(!is_here),
        Some("disable") if is_here => Ok(false),
        Some("disable") => {
            Err(SqlError::url("sslmode=disable is for a server on this machine: anywhere else it takes TLS"))
        }
        Some("require" | "verify-ca" | "verify-full") if host.starts_with('/') => {
            Err(SqlError::url("there is no TLS over a socket of the file system: leave sslmode out"))
        }
        Some("require" | "verify-ca" | "verify-full") => Ok(true),
        Some(_) => Err(SqlError::url("sslmode is disable, prefer, require or verify-full")),
    }
}

/// `+` is no blank: names are written as libpq reads them.
fn decoded(text: &str) -> Result<String, SqlError> {
    let decoded =
        percent_decode_str(text).decode_utf8().map_err(|_| SqlError::url("the URL is not UTF-8"))?;
    if decoded.contains('\0') {
        return Err(SqlError::url("the URL has a NUL in it"));
    }
    Ok(decoded.into_owned())
}

fn number<T: std::str::FromStr>(text: &str, name: &str) -> Result<T, SqlError> {
    text.parse().map_err(|_| SqlError::url(format!("{name} is not a number that it may be")))
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

const DEFAULT_PORT: u16 = 5432;
const DEFAULT_CONNECTIONS: usize = 8;
/// Some 23 days, which PostgreSQL's milliseconds can say.
const MOST_SECONDS: u64 = 2_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str, variables: &[(&str, &str)]) -> Result<Address, String> {
        let environment = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned()).or_else(|| (name == "USER").then(|| "me".to_owned()))
        };
        Address::parse(url, &environment).map_err(|error| error.to_string())
    }

    fn refused(url: &str) -> String {
        parse(url, &[]).err().expect(url)
    }

    #[test]
    fn names_are_decoded_once_and_each_is_taken_once() {
        let mut address = parse("postgres://u%40x@h/d%2Fb?table=a%22b+c&key=k1&key=k2", &[]).unwrap();
        assert_eq!(address.config.get_user(), Some("u@x"));
        assert_eq!(address.config.get_dbname(), Some("d/b"));
        assert_eq!(address.parameters.one("table").unwrap().as_deref(), Some("a\"b+c"));
        assert_eq!(address.parameters.many("key"), ["k1", "k2"]);
        address.pool().unwrap();
    }

    #[test]
    fn what_the_url_leaves_open_the_environment_says() {
        let variables = [
            ("PGHOST", "127.0.0.1"),
            ("PGPORT", "6000"),
            ("PGUSER", "u"),
            ("PGDATABASE", "d"),
            ("PGPASSWORD", "p"),
        ];
        let address = parse("postgres:///?table=t", &variables).unwrap();
        assert_eq!(address.config.get_ports(), [6000]);
        assert_eq!(address.config.get_user(), Some("u"));
        assert_eq!(address.config.get_dbname(), Some("d"));
        assert_eq!(address.config.get_password(), Some(b"p".as_slice()));
        let address = parse("postgres://v@localhost:7000/e", &variables).unwrap();
        assert_eq!((address.config.get_ports(), address.config.get_user()), ([7000].as_slice(), Some("v")));
        assert_eq!(address.config.get_dbname(), Some("e"));
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_repeated() {
        let error = refused("postgres://u:hunter2@h/d");
        assert!(error.contains("PGPASSWORD") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn plain_text_stays_on_this_machine() {
        let mode = |url: &str| parse(url, &[]).unwrap().config.get_ssl_mode();
        for here in ["localhost", "127.0.0.1", "[::1]", "%2Fvar%2Frun%2Fpostgresql"] {
            assert_eq!(mode(&format!("postgres://{here}/d")), SslMode::Disable, "{here}");
        }
        for there in ["db.example.org", "10.0.0.1", "[fd00::1]"] {
            assert_eq!(mode(&format!("postgres://{there}/d")), SslMode::Require, "{there}");
            assert_eq!(mode(&format!("postgres://{there}/d?sslmode=prefer")), SslMode::Require, "{there}");
            assert!(refused(&format!("postgres://{there}/d?sslmode=disable")).contains("TLS"));
        }
        assert_eq!(mode("postgres://localhost/d?sslmode=require"), SslMode::Require);
        assert!(refused("postgres://h/d?sslmode=off").contains("sslmode"));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (url, word) in [
            ("mysql://h/d", "postgres://"),
            ("postgres://h/d?table", "NAME=VALUE"),
            ("postgres://h/d?port=1&port=2", "twice"),
            ("postgres://h:1/d?port=2", "twice"),
            ("postgres://h/d#t", "%23"),
            ("postgres://h/d%00", "NUL"),
            ("postgres://h/%ff", "UTF-8"),
            ("postgres://a%2Cb/d", "one host"),
        ] {
            let error = refused(url);
            assert!(error.contains(word), "{url}: {error}");
        }
        let left = parse("postgres://h/d?tabel=t", &[]).unwrap().pool().err().unwrap().to_string();
        assert!(left.contains("tabel"), "{left}");
    }
}
