//! Durations as pilot.toml has them: a whole number and a unit, `250ms`, `30s`.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| {
        let expected = "expected a whole number and a unit (ms, s, m or h), like \"5s\"";
        D::Error::custom(format!("{text:?} is not a duration: {expected}"))
    })
}

/// For the schema, which shows the defaults.
pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let fits = UNITS.iter().rev().find(|(_, factor)| millis.is_multiple_of(*factor));
    let (unit, factor) = fits.copied().unwrap_or(UNITS[0]);
    serializer.serialize_str(&format!("{}{unit}", millis / factor))
}

fn parse(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(parse("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse("2m"), Some(Duration::from_secs(120)));
        for text in ["", "5", "s", "-5s", "5 s", "1.5s", "5sec", "99999999999999999999s"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
