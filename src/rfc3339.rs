//! Moments as people and programs read them: `2026-02-28T09:05:00.123Z`.

use std::time::SystemTime;

use jiff::Timestamp;

/// The moment in UTC, to the millisecond. One that RFC 3339 cannot write, which is far from today, is shown as
/// 1970.
pub fn format(at: SystemTime) -> String {
    format!("{:.3}", Timestamp::try_from(at).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn moments_are_shown_to_the_millisecond() {
        let at =
            |secs, millis| format(UNIX_EPOCH + Duration::from_secs(secs) + Duration::from_millis(millis));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400, 999), "2000-02-29T00:00:00.999Z");
        assert_eq!(at(1_000_000_000_000, 0), "1970-01-01T00:00:00.000Z");
    }
}
