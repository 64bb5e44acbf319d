//! Validates a configuration. Pure: it reads no file.

use pilot_registry::{ConfigError, Secret};

use super::{Address, CheckStatus, Config, DefaultPort, Tls};

impl Config {
    /// Whether it makes sense; the first key that does not.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let address = self.address()?;
        self.check_token()?;
        self.check_tls(&address)?;
        self.check_names()?;
        self.check_limits()
    }

    fn check_token(&self) -> Result<(), ConfigError> {
        let given = [
            ("token", self.token.is_some()),
            ("token_file", self.token_file.is_some()),
            ("token_env", self.token_env.is_some()),
        ];
        let given: Vec<_> = given.into_iter().filter_map(|(key, given)| given.then_some(key)).collect();
        if given.len() > 1 {
            let why = format!("{} is given too: expected one of token, token_file and token_env", given[0]);
            return Err(ConfigError::new(given[1], why));
        }
        let unprintable =
            |token: &Secret| token.reveal().is_empty() || !token.reveal().bytes().all(is_graphic);
        if self.token.as_ref().is_some_and(unprintable) {
            return Err(ConfigError::new("token", "expected letters, digits and '-', and no spaces"));
        }
        if self.token_env.as_deref().is_some_and(|name| name.is_empty() || name.contains(['=', '\0'])) {
            return Err(ConfigError::new("token_env", "expected the name of an environment variable"));
        }
        Ok(())
    }

    fn check_tls(&self, address: &Address) -> Result<(), ConfigError> {
        let tls = &self.tls;
        let refused = |key: &str, why: &str| Err(ConfigError::new(format!("tls.{key}"), why));
        let plain = !matches!(address, Address::Https { .. });
        if plain && *tls != Tls::default() {
            let keys = [
                ("ca", tls.ca.is_some()),
                ("cert", tls.cert.is_some()),
                ("key", tls.key.is_some()),
                ("server_name", tls.server_name.is_some()),
            ];
            let key = keys.into_iter().find_map(|(key, given)| given.then_some(key)).unwrap_or("ca");
            return refused(key, "it is of no use without an address that starts with https://");
        }
        if !plain && tls.ca.is_none() {
            return refused(
                "ca",
                "expected the file of the authorities' certificates, as the address is https://",
            );
        }
        match (&tls.cert, &tls.key) {
            (Some(_), None) => {
                return refused("key", "expected the file of the key that belongs to tls.cert");
            }
            (None, Some(_)) => return refused("cert", "expected the file of the certificate of tls.key"),
            _ => {}
        }
        if let Some(name) = &tls.server_name
            && rustls::pki_types::ServerName::try_from(name.as_str()).is_err()
        {
            return refused("server_name", "expected a DNS name or an IP address");
        }
        Ok(())
    }

    fn check_names(&self) -> Result<(), ConfigError> {
        let lists = [("datacenters", &self.datacenters), ("tags", &self.tags)];
        for (key, list) in lists {
            if list.iter().any(|name| name.trim().is_empty()) {
                return Err(ConfigError::new(key, "one of them is empty: expected names"));
            }
        }
        let mut datacenters: Vec<_> = self.datacenters.iter().collect();
        datacenters.sort();
        if let Some(twice) = datacenters.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ConfigError::new(
                "datacenters",
                format!("{:?} is there twice: expected each once", twice[0]),
            ));
        }
        for (key, name) in [("namespace", &self.namespace), ("partition", &self.partition)] {
            if name.as_deref().is_some_and(|name| name.trim().is_empty()) {
                return Err(ConfigError::new(key, "it is empty: expected a name"));
            }
        }
        if self.include.is_empty() {
            return Err(ConfigError::new(
                "include",
                "it is empty, so nothing is followed: expected patterns",
            ));
        }
        if self.service_port.as_ref().is_some_and(DefaultPort::is_empty) {
            let why = "it is empty: expected a port, like 80, or ports by protocol, like { http = 80 }";
            return Err(ConfigError::new("service_port", why));
        }
        if !self.serve.contains(&CheckStatus::Passing) {
            let why = "expected [\"passing\"] or [\"passing\", \"warning\"]";
            return Err(ConfigError::new("serve", why));
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<(), ConfigError> {
        let limits = &self.limits;
        let within = |key: &str, value: usize, least: usize, most: usize| {
            let why = || format!("{value} is out of range: expected {least} to {most}");
            let fits = (least..=most).contains(&value);
            if fits { Ok(()) } else { Err(ConfigError::new(format!("limits.{key}"), why())) }
        };
        let seconds = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        within("max_polls", limits.max_polls, 1, 10_000)?;
        within("max_body_bytes", limits.max_body_bytes, 1024, 1 << 32)?;
        within("wait_seconds", seconds(limits.wait_seconds), 1, 600)?;
        within("timeout_seconds", seconds(limits.timeout_seconds), 1, 600)
    }
}

fn is_graphic(byte: u8) -> bool {
    byte.is_ascii_graphic()
}
