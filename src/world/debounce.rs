//! When to push: the first change after a quiet time goes at once; a burst is merged.

use std::time::Duration;

use tokio::time::Instant;

/// Decides when pending changes are pushed.
#[derive(Clone, Debug)]
pub struct Debounce {
    quiet: Duration,
    max_delay: Duration,
    last_push: Option<Instant>,
    pending: Option<Pending>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    first: Instant,
    last: Instant,
}

impl Debounce {
    /// After a push, changes wait for a time of `quiet`, but none for longer than `max_delay`.
    pub fn new(quiet: Duration, max_delay: Duration) -> Self {
        Self { quiet, max_delay, last_push: None, pending: None }
    }

    /// A change came.
    pub fn changed(&mut self, now: Instant) {
        let first = self.pending.map_or(now, |pending| pending.first);
        self.pending = Some(Pending { first, last: now });
    }

    /// Whether something waits to be pushed.
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// When to push what is pending.
    pub fn deadline(&self) -> Instant {
        let Some(pending) = self.pending else { return Instant::now() };
        match self.last_push {
            Some(push) if pending.first < push + self.quiet => {
                (pending.last + self.quiet).min(pending.first + self.max_delay)
            }
            _ => pending.first,
        }
    }

    /// What was pending was pushed.
    pub fn pushed(&mut self, now: Instant) {
        self.pending = None;
        self.last_push = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(20);
    const MAX: Duration = Duration::from_millis(100);

    /// L24: a debounce that also delays the first change puts a floor under every change.
    #[tokio::test]
    async fn the_first_change_of_a_quiet_period_goes_out_at_once() {
        let start = Instant::now();
        let mut debounce = Debounce::new(QUIET, MAX);
        debounce.changed(start);
        assert_eq!(debounce.deadline(), start);
        debounce.pushed(start);
        assert!(!debounce.is_pending());
        debounce.changed(start + QUIET);
        assert_eq!(debounce.deadline(), start + QUIET);
    }

    #[tokio::test]
    async fn a_storm_is_merged_but_not_held_for_ever() {
        let start = Instant::now();
        let mut debounce = Debounce::new(QUIET, MAX);
        debounce.changed(start);
        debounce.pushed(start);
        let ms = |ms| start + Duration::from_millis(ms);
        debounce.changed(ms(1));
        assert_eq!(debounce.deadline(), ms(21));
        debounce.changed(ms(15));
        assert_eq!(debounce.deadline(), ms(35));
        debounce.changed(ms(95));
        assert_eq!(debounce.deadline(), ms(101));
    }
}
