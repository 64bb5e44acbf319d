//! The agent's address.

use std::path::PathBuf;
use std::str::FromStr;

/// An agent's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// `http://host:port`
    Http { host: String, port: u16 },
    /// `https://host:port`
    Https { host: String, port: u16 },
    /// `unix:///path`
    Unix(PathBuf),
}

impl Address {
    /// What the Host header says.
    pub(crate) fn authority(&self) -> String {
        match self {
            Self::Http { host, port } | Self::Https { host, port } if host.contains(':') => {
                format!("[{host}]:{port}")
            }
            Self::Http { host, port } | Self::Https { host, port } => format!("{host}:{port}"),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Not the address itself: somebody may have put a password into it.
        let refused = |why: &str| {
            format!("{why}: expected http://host:port, https://host:port or unix:///path, without more")
        };
        if let Some(path) = text.strip_prefix("unix://") {
            let absolute = path.starts_with('/') && path.len() <= 107;
            return if absolute { Ok(Self::Unix(path.into())) } else { Err(refused("no absolute path")) };
        }
        if let Some(missing) = pilot_registry::missing_scheme(text) {
            return Err(missing);
        }
        let uri: http::Uri = text.parse().map_err(|_| refused("it is no address"))?;
        let authority = uri.authority().ok_or_else(|| refused("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(refused("it has a user or a password"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(refused("it has a path"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || authority.port_u16() == Some(0) {
            return Err(refused("it has no host, or no port that makes sense"));
        }
        match uri.scheme_str() {
            Some("http") => Ok(Self::Http { host, port: authority.port_u16().unwrap_or(8500) }),
            Some("https") => Ok(Self::Https { host, port: authority.port_u16().unwrap_or(8501) }),
            _ => Err(refused("it starts with neither")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_form() {
        let read = |text: &str| text.parse::<Address>().unwrap();
        assert_eq!(read("http://c.local"), Address::Http { host: "c.local".into(), port: 8500 });
        assert_eq!(read("https://[::1]:1"), Address::Https { host: "::1".into(), port: 1 });
        assert_eq!(read("https://[::1]:1").authority(), "[::1]:1");
        assert_eq!(read("unix:///run/c.sock"), Address::Unix("/run/c.sock".into()));
    }

    #[test]
    fn an_address_without_a_scheme_is_told_what_to_write() {
        let why = "c.local:8500".parse::<Address>().unwrap_err();
        assert_eq!(why, "\"c.local:8500\" has no scheme: write \"http://c.local:8500\"");
    }

    #[test]
    fn addresses_that_make_no_sense_are_refused_without_being_repeated() {
        let wrong = ["", "ftp://c", "http://", "http://u:pw1@c", "http://c/v1", "unix://a", "http://c:0"];
        for text in wrong {
            let why = text.parse::<Address>().unwrap_err();
            assert!(why.contains("unix:///path") && !why.contains("pw1"), "{text}: {why}");
        }
    }
}
