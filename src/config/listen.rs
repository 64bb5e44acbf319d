//! Addresses to listen on. Names are not resolved: what a name means may change, or be several things.

use std::net::SocketAddr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| D::Error::custom(refusal(&text)))
}

/// The example has the port that was written. Without one it is any port: which keys ask is not known here.
fn refusal(text: &str) -> String {
    let port = text.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    let port = port.filter(|port| *port != 0).unwrap_or(8080);
    format!(
        "{text:?} is not an address to listen on: expected an IP address and a port, like \
         \"127.0.0.1:{port}\" or \"[::1]:{port}\""
    )
}

pub(super) fn serialize<S: Serializer>(listen: &SocketAddr, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(listen)
}

pub(super) mod optional {
    use std::net::SocketAddr;

    use serde::{Deserializer, Serializer};

    // TOML has no null: a key that is there has a value.
    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SocketAddr>, D::Error> {
        super::deserialize(deserializer).map(Some)
    }

    pub(in super::super) fn serialize<S: Serializer>(
        listen: &Option<SocketAddr>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match listen {
            Some(listen) => super::serialize(listen, serializer),
            None => serializer.serialize_none(),
        }
    }
}

pub(super) mod ip {
    use std::net::IpAddr;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<IpAddr, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| {
            D::Error::custom(format!(
                "{text:?} is not an IP address: expected one without a port, like \"127.0.0.1\" or \"::1\""
            ))
        })
    }

    pub(in super::super) fn serialize<S: Serializer>(ip: &IpAddr, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(ip)
    }
}
