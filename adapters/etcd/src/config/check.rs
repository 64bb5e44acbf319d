//! Validates a configuration.

use std::time::Duration;

use pilot_registry::{ConfigError, Port};

use super::{Config, Tls};

/// A shorter time is a typing error: no etcd answers so fast every time.
const SHORTEST: Duration = Duration::from_millis(50);

impl Config {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.check_endpoints()?;
        self.check_prefix()?;
        self.check_user()?;
        for (key, time) in [("timeout", self.timeout), ("progress_interval", self.progress_interval)] {
            if time < SHORTEST {
                return Err(ConfigError::new(key, format!("{time:?} is too short: expected at least 50ms")));
            }
        }
        if !(1..=100_000).contains(&self.page_size) {
            let reason = format!("{} is out of range: expected 1 to 100000", self.page_size);
            return Err(ConfigError::new("page_size", reason));
        }
        for (key, most) in [("max_keys", self.max_keys), ("max_bytes", self.max_bytes)] {
            if most == 0 {
                return Err(ConfigError::new(key, "0 allows no key: expected at least 1"));
            }
        }
        Ok(())
    }

    fn check_endpoints(&self) -> Result<(), ConfigError> {
        const EXPECTED: &str =
            "expected http:// or https://, a host and a port, like \"http://127.0.0.1:2379\"";
        let refused = |key: &str, reason: String| Err(ConfigError::new(key, reason));
        if self.endpoints.is_empty() {
            return refused(
                "endpoints",
                "there is none: expected at least one, like \"http://127.0.0.1:2379\"".into(),
            );
        }
        for endpoint in &self.endpoints {
            if endpoint.contains('@') {
                // Not the text itself: it may hold a password.
                return refused("endpoints", format!("user and password have keys of their own; {EXPECTED}"));
            }
            if let Some(missing) = pilot_registry::missing_scheme(endpoint) {
                return refused("endpoints", missing);
            }
            if !is_endpoint(endpoint) {
                return refused("endpoints", format!("{endpoint:?} is not an endpoint: {EXPECTED}"));
            }
        }
        let secure = self.endpoints.iter().filter(|endpoint| endpoint.starts_with("https://")).count();
        match &self.tls {
            None if secure > 0 => {
                refused("tls.ca", "it is missing: https:// needs the PEM file of etcd's authorities".into())
            }
            Some(_) if secure < self.endpoints.len() => refused(
                "endpoints",
                "one is without TLS although there is a table tls: expected https://".into(),
            ),
            Some(tls) => tls.check(),
            None => Ok(()),
        }
    }

    fn check_prefix(&self) -> Result<(), ConfigError> {
        let parts = self.prefix.strip_prefix('/').map(|rest| rest.split('/'));
        let plain = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_graphic());
        if parts.is_some_and(|mut parts| parts.all(plain)) {
            return Ok(());
        }
        let expected = "expected '/' and a name, as often as wanted, like \"/pilot\"";
        Err(ConfigError::new("prefix", format!("{:?} is not a prefix: {expected}", self.prefix)))
    }

    fn check_user(&self) -> Result<(), ConfigError> {
        let given = [
            ("password", self.password.is_some()),
            ("password_file", self.password_file.is_some()),
            ("password_env", self.password_env.is_some()),
        ];
        let given: Vec<&str> =
            given.into_iter().filter(|(_, is_there)| *is_there).map(|(key, _)| key).collect();
        const EXPECTED: &str = "expected one of password, password_file, password_env";
        match (self.user.as_deref(), given.as_slice()) {
            (Some(""), _) => Err(ConfigError::new("user", "it is empty: expected a name, or no key at all")),
            (Some(_), []) => Err(ConfigError::new("user", format!("there is no password to it: {EXPECTED}"))),
            (None, [key, ..]) => {
                Err(ConfigError::new(*key, "there is no user to it: expected the key user, too"))
            }
            (_, [_, second, ..]) => {
                Err(ConfigError::new(*second, format!("the password is there twice: {EXPECTED}")))
            }
            _ if self.password_env.as_deref() == Some("") => {
                Err(ConfigError::new("password_env", "it is empty: expected the name of a variable"))
            }
            _ => Ok(()),
        }
    }
}

impl Tls {
    fn check(&self) -> Result<(), ConfigError> {
        if self.ca.as_os_str().is_empty() {
            return Err(ConfigError::new(
                "tls.ca",
                "it is missing: expected the PEM file of etcd's authorities",
            ));
        }
        match (&self.cert, &self.key) {
            (Some(_), None) => Err(ConfigError::new("tls.key", "it is missing: tls.cert needs its key")),
            (None, Some(_)) => {
                Err(ConfigError::new("tls.cert", "it is missing: tls.key needs its certificate"))
            }
            _ => Ok(()),
        }
    }
}

fn is_endpoint(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let Some((host, port)) = rest.and_then(|rest| rest.rsplit_once(':')) else { return false };
    let is_v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_is_one = match is_v6 {
        Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._".contains(&c)),
    };
    host_is_one && port.parse::<Port>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    type Change = fn(&mut Config);

    fn refused(change: impl FnOnce(&mut Config)) -> ConfigError {
        let mut config = Config::new(["https://etcd.example.com:2379", "https://[::1]:2379"]);
        config.tls = Some(Tls { ca: "ca.pem".into(), ..Tls::default() });
        config.check().unwrap();
        change(&mut config);
        config.check().unwrap_err()
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_key() {
        let broken: [(&str, Change); 17] = [
            ("endpoints", |c| c.endpoints.clear()),
            ("endpoints", |c| c.endpoints[0] = "etcd:2379".into()),
            ("endpoints", |c| c.endpoints[0] = "https://etcd:2379/path".into()),
            ("endpoints", |c| c.endpoints[0] = "https://etcd:0".into()),
            ("endpoints", |c| c.endpoints[0] = "https://[etcd]:1".into()),
            ("endpoints", |c| c.endpoints[0] = "http://etcd:2379".into()),
            ("tls.ca", |c| c.tls = None),
            ("tls.ca", |c| c.tls = Some(Tls::default())),
            ("tls.key", |c| c.tls.as_mut().unwrap().cert = Some("a.pem".into())),
            ("tls.cert", |c| c.tls.as_mut().unwrap().key = Some("a.key".into())),
            ("prefix", |c| c.prefix = "pilot".into()),
            ("prefix", |c| c.prefix = "/pilot/".into()),
            ("user", |c| c.user = Some("a".into())),
            ("password_env", |c| c.password_env = Some("A".into())),
            ("timeout", |c| c.timeout = Duration::ZERO),
            ("page_size", |c| c.page_size = 0),
            ("max_keys", |c| c.max_keys = 0),
        ];
        for (key, change) in broken {
            let error = refused(change);
            assert_eq!(error.key, key, "{error}");
        }
    }

    #[test]
    fn a_password_is_said_once_and_never_shown() {
        let twice = |c: &mut Config| {
            (c.user, c.password) = (Some("a".into()), Some(Secret::from("open-sesame".to_owned())));
            c.password_file = Some("a".into());
        };
        assert_eq!(refused(twice).key, "password_file");
        let in_url = |c: &mut Config| c.endpoints[0] = "https://a:open-sesame@etcd:2379".into();
        assert!(!refused(in_url).to_string().contains("open-sesame"));
        let config =
            Config { password: Some("open-sesame".to_owned().into()), ..Config::new(["http://a:1"]) };
        assert!(!format!("{config:?}").contains("open-sesame"));
    }
}
