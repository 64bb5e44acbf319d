//! Waiting for a condition, with a deadline.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, timeout};

/// The time within which anything that a test waits for happens on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until the answer is `Ok`, and panics with the last `Err` when patience ends.
pub(crate) async fn until<T, E: Display>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, E>) -> T {
    let start = Instant::now();
    loop {
        let why = match ask().await {
            Ok(value) => return value,
            Err(why) => why,
        };
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}: {why}");
        pause().await;
    }
}

/// Waits for something that has a deadline of its own, and panics when that ends first.
pub(crate) async fn within<T>(limit: Duration, what: &str, happens: impl Future<Output = T>) -> T {
    timeout(limit, happens).await.unwrap_or_else(|_| panic!("{what}: not within {limit:?}"))
}

/// Asks for a whole while, in which the answer must stay `Ok`.
pub(crate) async fn throughout<E: Display>(
    what: &str,
    time: Duration,
    mut ask: impl AsyncFnMut() -> Result<(), E>,
) {
    let start = Instant::now();
    while start.elapsed() < time {
        if let Err(why) = ask().await {
            panic!("{what}: no longer after {:?}: {why}", start.elapsed());
        }
        pause().await;
    }
}

/// `Ok` when the condition holds.
pub(crate) fn holds(condition: bool, otherwise: impl Display) -> Result<(), String> {
    if condition { Ok(()) } else { Err(otherwise.to_string()) }
}

/// Between two looks at something that gives no notice.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}
