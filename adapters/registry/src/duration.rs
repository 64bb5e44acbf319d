//! Durations as people write them, and Go's programs read and write them: `250ms`, `30m`, `1.5s`, `1h30m`.
//!
//! For the configuration of adapters, `#[serde(with = "pilot_registry::duration")]`.

use std::time::Duration;

use jiff::fmt::friendly::{Spacing, SpanParser, SpanPrinter};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

const PARSER: SpanParser = SpanParser::new();
const PRINTER: SpanPrinter = SpanPrinter::new().spacing(Spacing::None);

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
/// The text is no duration, one of more than a year, or one with a part of a millisecond; what was expected.
pub fn parse(text: &str, like: &str) -> Result<Duration, String> {
    let duration = PARSER.parse_unsigned_duration(text).map_err(|_| {
        format!("{text:?} is not a duration: expected numbers with units (h, m, s or ms), like {like:?}")
    })?;
    if duration > LONGEST {
        return Err(format!("{text:?} is too long: expected at most a year, which is \"8784h\""));
    }
    if !duration.subsec_nanos().is_multiple_of(1_000_000) {
        return Err(format!("{text:?} is too fine: expected whole milliseconds, like \"1ms\""));
    }
    Ok(duration)
}

/// The duration in the units that it fills: `1m30s`.
pub fn format(duration: Duration) -> String {
    PRINTER.unsigned_duration_to_string(&duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_alike() {
        for (text, millis) in [
            ("250ms", 250),
            ("5s", 5_000),
            ("1m30s", 90_000),
            ("30m", 1_800_000),
            ("2h", 7_200_000),
            ("8784h", 31_622_400_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text, "5s"), Ok(Duration::from_millis(millis)));
            assert_eq!(format(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn durations_are_read_as_other_programs_write_them() {
        for (text, like) in
            [("90s", "1m30s"), ("1.5s", "1s500ms"), ("0.5h", "30m"), ("1h 30m", "1h30m"), ("5 sec", "5s")]
        {
            assert_eq!(parse(text, "5s"), parse(like, "5s"), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in
            ["", "5", "s", "-5s", "5s ago", "5x", "1d", "1 month", "99999999999999999999s", "١s", "P1D"]
        {
            let error = parse(text, "7s").unwrap_err();
            assert!(error.contains("is not a duration") && error.ends_with("like \"7s\""), "{error}");
        }
        for text in ["9000h", "99999999999999h"] {
            assert!(parse(text, "5s").unwrap_err().contains("too long"), "{text}");
        }
        for text in ["1us", "1.5ms", "1s1ns"] {
            assert!(parse(text, "5s").unwrap_err().contains("too fine"), "{text}");
        }
    }
}
