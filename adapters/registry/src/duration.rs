//! Durations as people write them: a whole number and a unit, `250ms`, `30m`.
//!
//! For the configuration of adapters, `#[serde(with = "pilot_registry::duration")]`.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// Longer ones are typing errors, and would overflow timers.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// Reads a duration from its text.
///
/// # Errors
/// The text is no duration, or one of more than a year.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text, "5s").map_err(D::Error::custom)
}

/// Writes a duration as [`format()`] does.
///
/// # Errors
/// The serializer's.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*duration))
}

/// `30s` -> the duration. `like` is one that would do, for the error.
///
/// # Errors
/// The text is no duration, or one of more than a year; what was expected.
pub fn parse(text: &str, like: &str) -> Result<Duration, String> {
    let refused = || {
        let expected = "expected a whole number and a unit (ms, s, m or h)";
        format!("{text:?} is not a duration: {expected}, like {like:?}")
    };
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refused)?;
    let number: u64 = number.parse().map_err(|_| refused())?;
    let duration = number.checked_mul(*factor).map(Duration::from_millis);
    duration
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| format!("{text:?} is too long: expected at most a year, which is \"8784h\""))
}

/// The duration in the largest unit in which it is a whole number.
pub fn format(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".into();
    }
    let fits = UNITS.iter().rev().find(|(_, factor)| millis.is_multiple_of(*factor));
    let (unit, factor) = fits.copied().unwrap_or(UNITS[0]);
    format!("{}{unit}", millis / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_alike() {
        for (text, millis) in
            [("250ms", 250), ("5s", 5_000), ("30m", 1_800_000), ("2h", 7_200_000), ("0s", 0)]
        {
            assert_eq!(parse(text, "5s"), Ok(Duration::from_millis(millis)));
            assert_eq!(format(Duration::from_millis(millis)), text);
        }
        assert_eq!(format(parse("90s", "5s").unwrap()), "90s");
        assert_eq!(format(parse("60s", "5s").unwrap()), "1m");
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "5", "s", "-5s", "5 s", "1.5s", "5sec", "99999999999999999999s", "١s"] {
            let error = parse(text, "7s").unwrap_err();
            assert!(error.contains("is not a duration") && error.ends_with("like \"7s\""), "{error}");
        }
        for text in ["9000h", "99999999999999999h"] {
            assert!(parse(text, "5s").unwrap_err().contains("too long"), "{text}");
        }
    }
}
