//! Annotations of services that pilot understands.
//!
//! ```yaml
//! metadata:
//!   annotations:
//!     pilot/ignore: "true"              # leaves the service out
//!     pilot/protocol: "http, 9000=grpc" # of all ports, of ports by number or name
//!     pilot/weight: "10"                # of each endpoint
//! ```

use std::collections::BTreeMap;

use pilot_registry::{Protocol, Weight};

use super::Notes;
use crate::objects::Key;

/// The annotations of one service. One that makes no sense is noted and does not count.
#[derive(Debug, Default)]
pub(super) struct Annotations {
    pub(super) ignore: bool,
    pub(super) weight: Option<Weight>,
    protocol: Option<Protocol>,
    protocols: BTreeMap<String, Protocol>,
}

impl Annotations {
    pub(super) fn read(key: &Key, annotations: &BTreeMap<String, String>, notes: &mut Notes) -> Self {
        let mut read = Self::default();
        for (name, value) in annotations {
            if let Err(why) = read.take(name, value.trim()) {
                notes.note(format!("services {key} annotation pilot/{name}"), why);
            }
        }
        read
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "ignore" => match value {
                "true" => self.ignore = true,
                "false" => self.ignore = false,
                _ => return Err(format!("unknown value {value:?}: expected true or false")),
            },
            "weight" => self.weight = Some(weight(value)?),
            "protocol" => value.split(',').try_for_each(|part| self.take_protocol(part.trim()))?,
            _ => return Err("unknown annotation: expected one of ignore, protocol, weight".to_owned()),
        }
        Ok(())
    }

    fn take_protocol(&mut self, part: &str) -> Result<(), String> {
        let read = |text: &str| text.trim().parse::<Protocol>().map_err(|error| error.to_string());
        match part.split_once('=') {
            Some((port, protocol)) => {
                self.protocols.insert(port.trim().to_owned(), read(protocol)?);
            }
            None => self.protocol = Some(read(part)?),
        }
        Ok(())
    }

    /// The protocol of the port with that number and name, if they say it.
    pub(super) fn protocol_of(&self, number: u32, name: &str) -> Option<Protocol> {
        let by = |port: &str| self.protocols.get(port).copied();
        by(&number.to_string()).or_else(|| by(name)).or(self.protocol)
    }
}

pub(super) fn weight(text: &str) -> Result<Weight, String> {
    let number: u32 = text
        .trim()
        .parse()
        .map_err(|_| format!("weight {text:?} is no number: expected 1 to {}", Weight::MAX))?;
    Weight::try_from(number).map_err(|error| error.to_string())
}
