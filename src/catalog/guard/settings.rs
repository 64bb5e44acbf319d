//! What counts as a mass, and how long it is held.

use std::time::Duration;

/// When the guard holds, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardSettings {
    /// It holds what lacks more than this share of the endpoints.
    pub share_percent: usize,
    /// ... and at least so many.
    pub min_endpoints: usize,
    /// For how long at most, on live data.
    pub hold: Duration,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self { share_percent: 50, min_endpoints: 10, hold: Duration::from_secs(30) }
    }
}

impl GuardSettings {
    /// Whether that many of that many are a mass.
    pub(super) fn is_mass(&self, lack: usize, of: usize) -> bool {
        lack >= self.min_endpoints && self.is_over_share(lack, of)
    }

    /// Whether that many of that many are neither as many as a mass has at least, nor as large a share.
    pub(super) fn are_few(&self, lack: usize, of: usize) -> bool {
        lack < self.min_endpoints && !self.is_over_share(lack, of)
    }

    fn is_over_share(&self, lack: usize, of: usize) -> bool {
        lack.saturating_mul(100) > of.saturating_mul(self.share_percent)
    }
}
