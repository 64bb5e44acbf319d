//! Text of services files.

use std::fmt::Write;

/// One endpoint as it is written in a services file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place(String);

impl Place {
    /// An endpoint at an address as services files write it.
    pub(crate) fn at(address: &str) -> Self {
        Self(format!("address = \"{address}\""))
    }

    /// With a weight.
    pub(crate) fn weight(self, weight: u32) -> Self {
        Self(format!("{}, weight = {weight}", self.0))
    }

    /// In a region.
    pub(crate) fn region(self, region: &str) -> Self {
        Self(format!("{}, region = \"{region}\"", self.0))
    }

    /// In a zone.
    pub(crate) fn zone(self, zone: &str) -> Self {
        Self(format!("{}, zone = \"{zone}\"", self.0))
    }

    /// With a label.
    pub(crate) fn label(self, key: &str, value: &str) -> Self {
        Self(format!("{}, labels = {{ {key} = \"{value}\" }}", self.0))
    }

    /// With the health that its platform tells.
    pub(crate) fn health(self, health: &str) -> Self {
        Self(format!("{}, health = \"{health}\"", self.0))
    }
}

/// A service with one port.
pub(crate) fn service(host: &str, port: u16, protocol: &str, places: &[Place]) -> String {
    let mut text = format!(
        "[[service]]\nhost = \"{host}\"\nports = [{{ port = {port}, protocol = \"{protocol}\" }}]\nendpoints = [\n"
    );
    for Place(place) in places {
        writeln!(text, "  {{ {place} }},").unwrap();
    }
    text + "]\n"
}
