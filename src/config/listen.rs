//! Addresses to listen on. Names are not resolved: what a name means may change, or be several things.

use std::net::SocketAddr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        D::Error::custom(format!(
            "{text:?} is not an address to listen on: expected an IP address and a port, like \
             \"127.0.0.1:18000\" or \"[::1]:18000\""
        ))
    })
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
