//! A small timing harness: repeat, and tell the least, the median and the most.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// Measured times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    /// Measures `run` that many times. What it returns is dropped outside of the measured time.
    pub(crate) fn of<T>(times: usize, mut run: impl FnMut() -> T) -> Self {
        (0..times).map(|_| timed(&mut run).1).collect()
    }

    /// The value that this share of all samples does not exceed.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        let last = sorted.len().saturating_sub(1);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let at = (last as f64 * share).round() as usize;
        sorted.get(at).copied().unwrap_or_default()
    }

    /// The sample in the middle.
    pub(crate) fn median(&self) -> Duration {
        self.quantile(0.5)
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (self.quantile(0.0), self.quantile(1.0));
        write!(f, "{:>10} {:>10} {:>10}", ms(least), ms(self.median()), ms(most))
    }
}

/// Runs it, and says how long that took.
pub(crate) fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let result = run();
    (result, started.elapsed())
}

/// Milliseconds, with as many digits as say something.
pub(crate) fn ms(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    match ms {
        0.0..10.0 => format!("{ms:.3}"),
        10.0..1000.0 => format!("{ms:.1}"),
        _ => format!("{ms:.0}"),
    }
}
