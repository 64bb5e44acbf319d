//! The last known good at the start: the first answer of the registry is compared with it, and it is served while
//! there is no answer.
//!
//! With a guard, pilot reads the file while it asks the registry. So a platform that lost its data while
//! pilot was away is not believed at once. The first answer waits for the file, up to a limit.

use std::time::{Duration, SystemTime};

use pilot_registry::{Feed, RegistryHealth, Snapshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Freshness, Intake, Known, Policy, SavePolicy};
use crate::catalog::saved::{LoadError, Saved};

/// A disk has so long to give the file before pilot goes on without it. Far more than a healthy one needs.
const READ_MAX: Duration = Duration::from_secs(5);
/// What is older is compared with nothing: in a day without pilot, much may go for good reasons.
const BASELINE_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// The last known good, until something counts.
#[derive(Debug)]
pub(super) enum OnDisk {
    /// It is read when the registry does not answer.
    Unread,
    Reading {
        load: JoinHandle<Result<Option<Saved>, LoadError>>,
        /// Nothing waits for it any longer than this.
        until: Instant,
    },
    /// It can be served.
    Read(Saved),
    /// There is none, or there is no need of it any more.
    Gone,
}

impl OnDisk {
    /// The registry begins to be asked.
    pub(super) fn at_start(policy: &Policy, now: Instant) -> Self {
        match &policy.save {
            Some(save) if policy.guard.is_some() => Self::read(save, now),
            Some(_) => Self::Unread,
            None => Self::Gone,
        }
    }

    fn read(save: &SavePolicy, now: Instant) -> Self {
        let file = save.file.clone();
        let load = tokio::task::spawn_blocking(move || file.load());
        Self::Reading { load, until: now + READ_MAX }
    }

    /// Until when others wait for its being read; `None` = they do not.
    pub(super) fn awaited(&self, now: Instant) -> Option<Instant> {
        match self {
            Self::Reading { until, .. } if now < *until => Some(*until),
            Self::Unread | Self::Reading { .. } | Self::Read(_) | Self::Gone => None,
        }
    }

    /// Something counts.
    pub(super) fn no_longer_needed(self, registry: &str) -> Self {
        if matches!(self, Self::Reading { .. }) {
            tracing::warn!(
                registry,
                "the disk is slow: what the registry says first is compared with nothing"
            );
        }
        Self::Gone
    }

    /// Waits until it has been read. Without end, unless it is being read.
    pub(super) async fn loaded(&mut self) -> Result<Option<Saved>, LoadError> {
        let Self::Reading { load, .. } = self else { return std::future::pending().await };
        let loaded = load.await;
        *self = Self::Gone;
        loaded.unwrap_or_else(|error| {
            tracing::error!(%error, "loading a last known good failed: this is a bug");
            Ok(None)
        })
    }
}

impl Intake {
    /// What was read, as what the registry's first answer is compared with.
    pub(super) fn compare_with(&self, loaded: Result<Option<Saved>, LoadError>) -> OnDisk {
        let registry = &*self.0.registry;
        match loaded {
            Ok(None) => {
                tracing::info!(registry, "there is no last known good on disk");
                OnDisk::Gone
            }
            Ok(Some(saved)) => {
                self.0.disk.lock().saved_at = Some(saved.saved_at);
                if age(saved.saved_at) <= BASELINE_AGE_MAX {
                    self.0.followed.lock().guard.publish(Instant::now(), &saved.snapshot, 0);
                }
                OnDisk::Read(saved)
            }
            Err(error) => {
                tracing::error!(registry, "last known good: {error}");
                self.0.disk.lock().error = Some(error.to_string());
                OnDisk::Gone
            }
        }
    }

    /// Serves what is on disk when the registry fails, or has not answered in time. What there is to wait for.
    pub(super) fn fall_back(
        &self,
        on_disk: OnDisk,
        feed: &Feed<Snapshot>,
        started: Instant,
        now: Instant,
    ) -> (OnDisk, Option<Instant>) {
        let Some(save) = &self.0.policy.save else { return (OnDisk::Gone, None) };
        // What is on disk is looked at before others are served without the registry.
        let due = started + save.wait.min(self.0.policy.patience.unwrap_or(Duration::MAX));
        let failed = matches!(feed.health(), RegistryHealth::Degraded(_));
        match on_disk {
            OnDisk::Unread | OnDisk::Read(_) if !failed && now < due => (on_disk, Some(due)),
            OnDisk::Unread => {
                let reading = OnDisk::read(save, now);
                let until = reading.awaited(now);
                (reading, until)
            }
            OnDisk::Read(saved) => {
                self.resume(saved, now);
                (OnDisk::Gone, None)
            }
            OnDisk::Reading { .. } | OnDisk::Gone => {
                let until = on_disk.awaited(now);
                (on_disk, until)
            }
        }
    }

    /// Serves what was saved.
    fn resume(&self, Saved { snapshot, saved_at }: Saved, now: Instant) {
        let (registry, age_seconds) = (&*self.0.registry, age(saved_at).as_secs());
        tracing::warn!(registry, age_seconds, "registry does not answer: its last known good is served");
        self.0.followed.lock().guard.publish(now, &snapshot, 0);
        self.0.state.send_modify(|state| {
            let freshness = Freshness::Disk { saved_at };
            state.known = Some(Known { snapshot, changed: now, freshness, held: None });
            state.generation += 1;
        });
    }
}

fn age(saved_at: SystemTime) -> Duration {
    saved_at.elapsed().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use pilot_registry::channel;
    use pilot_registry_testkit::{service, snapshot};

    use super::*;

    /// A disk that does not answer holds up nobody for ever.
    #[tokio::test(start_paused = true)]
    async fn first_answer_waits_for_the_disk_but_not_for_long() {
        let (_hangs, never) = sync_channel::<()>(1);
        let load = tokio::task::spawn_blocking(move || {
            _ = never.recv();
            Ok(None)
        });
        let started = Instant::now();
        let on_disk = OnDisk::Reading { load, until: started + READ_MAX };
        let intake = Intake::new("east".into(), Policy::default());
        let (sink, feed) = channel();
        sink.publish(snapshot([service("a.local").http(80).endpoint("10.0.0.1", 8080).build()]));
        let mut state = intake.subscribe();
        let spoken = state.wait_for(|state| state.known.is_some());
        let on_time = async {
            // The clock does not go on by itself while a thread blocks.
            tokio::task::yield_now().await;
            assert!(intake.knows_nothing(), "the disk was not waited for");
            tokio::time::advance(READ_MAX).await;
            spoken.await.map(|state| state.known.as_ref().map(|known| known.freshness))
        };
        let freshness = tokio::select! {
            never = intake.decide(&feed, on_disk) => match never {},
            freshness = on_time => freshness.unwrap(),
        };
        assert_eq!((freshness, started.elapsed()), (Some(Freshness::Live), READ_MAX));
    }
}
