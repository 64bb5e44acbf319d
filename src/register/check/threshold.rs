//! From the verdicts of single probes to the health of an instance.

use std::num::NonZeroU32;

use pilot_registry::Health;

use super::Verdict;

/// One pass makes healthy; only several failures in a row make unhealthy. Before the first pass it is
/// unhealthy, as with a check of Consul's.
#[derive(Debug)]
pub(super) struct Threshold {
    health: Health,
    failures: u32,
    limit: NonZeroU32,
    passed: bool,
}

impl Threshold {
    /// After `limit` failures in a row it is unhealthy.
    pub(super) fn new(limit: NonZeroU32) -> Self {
        Self { health: Health::Unhealthy, failures: 0, limit, passed: false }
    }

    /// The health that follows from one more verdict.
    pub(super) fn hear(&mut self, verdict: &Verdict) -> Health {
        match verdict {
            Verdict::Pass => self.works(Health::Healthy),
            Verdict::Warn(_) => self.works(Health::Warning),
            Verdict::Fail(_) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= self.limit.get() {
                    self.health = Health::Unhealthy;
                }
            }
        }
        self.health
    }

    fn works(&mut self, health: Health) {
        self.health = health;
        self.failures = 0;
        self.passed = true;
    }

    /// The health as it is now.
    pub(super) fn health(&self) -> Health {
        self.health
    }

    /// Failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether it has ever worked.
    pub(super) fn has_passed(&self) -> bool {
        self.passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(verdicts: &str) -> Health {
        let mut threshold = Threshold::new(NonZeroU32::new(3).unwrap());
        let verdict = |letter| match letter {
            'p' => Verdict::Pass,
            'w' => Verdict::Warn(String::new()),
            _ => Verdict::Fail(String::new()),
        };
        verdicts.chars().fold(threshold.health(), |_, letter| threshold.hear(&verdict(letter)))
    }

    #[test]
    fn one_pass_makes_healthy_and_only_failures_in_a_row_make_unhealthy() {
        for (verdicts, health) in [
            ("", Health::Unhealthy),
            ("f", Health::Unhealthy),
            ("p", Health::Healthy),
            ("ffffp", Health::Healthy),
            ("pff", Health::Healthy),
            ("pffpff", Health::Healthy),
            ("pfff", Health::Unhealthy),
            ("pfffp", Health::Healthy),
            ("w", Health::Warning),
            ("wff", Health::Warning),
            ("wfff", Health::Unhealthy),
            ("pffwff", Health::Warning),
        ] {
            assert_eq!(heard(verdicts), health, "{verdicts:?}");
        }
    }
}
