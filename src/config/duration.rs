//! Durations in pilot.toml and in flags.

use std::time::Duration;

pub(super) use pilot_registry::duration::{format, serialize};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(D::Error::custom)
}

/// `30s` -> the duration.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    pilot_registry::duration::parse(text, "30s")
}
