//! The loop of one registry: it feeds the guard, writes the file, and knows the time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pilot_registry::{Feed, Published, RegistryHealth, Snapshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::disk::OnDisk;
use super::{DiskStatus, Freshness, Intake, Known, SavePolicy};
use crate::catalog::guard::Guard;

/// What has not changed is written again after this time, so that its age on disk is about that of the data.
const REFRESH: Duration = Duration::from_secs(600);

impl Intake {
    /// Takes in what the registry says, for ever.
    pub async fn follow(&self, feed: &Feed<Snapshot>) -> Infallible {
        let on_disk = OnDisk::at_start(&self.0.policy, Instant::now());
        tokio::join!(self.decide(feed, on_disk), self.keep_saved(feed)).0
    }

    /// Writes what is not on disk yet, for the end.
    pub async fn flush(&self, feed: &Feed<Snapshot>) {
        if let Some(save) = &self.0.policy.save {
            self.save(save, feed).await;
        }
    }

    pub(super) async fn decide(&self, feed: &Feed<Snapshot>, mut on_disk: OnDisk) -> Infallible {
        let (mut states, mut wanted) = (feed.subscribe(), self.0.reads.subscribe());
        let started = Instant::now();
        loop {
            let now = Instant::now();
            let mut next = on_disk.awaited(now);
            if next.is_none() {
                next = self.take(feed, now);
            }
            if self.knows_nothing() {
                let until;
                (on_disk, until) = self.fall_back(on_disk, feed, started, now);
                next = until.map_or(next, |until| earlier(next, until));
                if until.is_none() && self.knows_nothing() {
                    next = self.pass_over(started, now, next);
                }
            } else {
                on_disk = on_disk.no_longer_needed(&self.0.registry);
            }
            tokio::select! {
                // The feed outlives its receivers.
                _changed = states.changed() => {}
                _answered = wanted.changed() => {}
                loaded = on_disk.loaded() => on_disk = self.compare_with(loaded),
                () = reached(next) => {}
            }
        }
    }

    pub(super) fn knows_nothing(&self) -> bool {
        self.0.state.borrow().known.is_none()
    }

    /// Takes in what the feed says now. When there is something to do though it says nothing new.
    fn take(&self, feed: &Feed<Snapshot>, now: Instant) -> Option<Instant> {
        let (published, health) = feed.with_state(|state| (state.published.clone(), state.health()));
        let Published { value, revision, changed, checked } = published?;
        let read = self.0.reads.of(checked);
        let mut followed = self.0.followed.lock();
        let before = followed.seen.replace((checked, revision));
        if before != followed.seen {
            followed.guard.publish(now, &value, read);
        }
        let live = is_current(&health, checked);
        let was_live = std::mem::replace(&mut followed.was_live, live);
        if live && !was_live {
            followed.guard.recover(now);
        }
        let next = if live { self.watch_over(&mut followed.guard, read, now) } else { None };
        let is_new = before.is_none_or(|(_, before)| before != revision);
        self.update(&followed.guard, if is_new { changed } else { now });
        next
    }

    /// Lets go of what has been held for long enough, and asks for a second read when it is time. When to
    /// look again. A read that is under way is waited for, for as long again: it knows better.
    fn watch_over(&self, guard: &mut Guard, read: u64, now: Instant) -> Option<Instant> {
        let reads = &self.0.reads;
        let hold = self.0.policy.guard?.hold;
        if reads.under_way_since(read).is_none()
            && guard.second_read_at(reads.last()).is_some_and(|at| at <= now)
        {
            tracing::info!(registry = &*self.0.registry, "reading everything again");
            reads.want_another(now);
        }
        let under_way = reads.under_way_since(read);
        let last = |deadline: Instant| under_way.map_or(deadline, |since| deadline.max(since + hold));
        if let Some(deadline) = guard.deadline()
            && last(deadline) <= now
        {
            guard.lapse(now);
        }
        if guard.deadline().is_none() {
            reads.answered();
        }
        let second = guard.second_read_at(reads.last()).filter(|_| under_way.is_none());
        second.into_iter().chain(guard.deadline().map(last)).min()
    }

    /// An optional registry is waited for no longer than is said. When there is something to do.
    fn pass_over(&self, started: Instant, now: Instant, next: Option<Instant>) -> Option<Instant> {
        let Some(patience) = self.0.policy.patience else { return next };
        if now < started + patience {
            return earlier(next, started + patience);
        }
        self.0.state.send_if_modified(|state| {
            let news = !std::mem::replace(&mut state.passed_over, true);
            if news {
                state.generation += 1;
                tracing::warn!(
                    registry = &*self.0.registry,
                    "optional registry is not waited for any longer"
                );
            }
            news
        });
        next
    }

    /// The first change is written at once, further ones are merged.
    async fn keep_saved(&self, feed: &Feed<Snapshot>) -> Infallible {
        let Some(save) = &self.0.policy.save else { return std::future::pending().await };
        let mut state = self.subscribe();
        loop {
            let saved = self.0.saved.lock().await.clone();
            let is_new = |known: &Known| {
                savable(known) && !saved.as_ref().is_some_and(|saved| Arc::ptr_eq(saved, &known.snapshot))
            };
            let news = state.wait_for(|state| state.known.as_ref().is_some_and(is_new));
            // Without news, it is time to refresh.
            _ = timeout(REFRESH, news).await;
            self.save(save, feed).await;
            sleep(save.save_interval).await;
        }
    }

    /// Writes what counts, as of now or of when the registry was last in order. What is held is not what the
    /// registry says, and what is from disk is there already.
    async fn save(&self, save: &SavePolicy, feed: &Feed<Snapshot>) {
        let mut saved = self.0.saved.lock().await;
        let Some(known) = self.state().known.filter(savable) else { return };
        let as_of = match feed.health() {
            RegistryHealth::Degraded(trouble) => SystemTime::now().checked_sub(trouble.since.elapsed()),
            RegistryHealth::Live | RegistryHealth::Connecting => Some(SystemTime::now()),
        };
        let as_of = as_of.unwrap_or(SystemTime::UNIX_EPOCH);
        if saved.as_ref().is_some_and(|saved| Arc::ptr_eq(saved, &known.snapshot)) {
            let newest = self.0.disk.lock().saved_at.map(|saved_at| saved_at + save.save_interval);
            if newest.is_some_and(|newest| as_of < newest) {
                return;
            }
        }
        let (file, snapshot) = (save.file.clone(), Arc::clone(&known.snapshot));
        let written = tokio::task::spawn_blocking(move || file.save(&snapshot, as_of)).await;
        let path = save.file.path();
        match written.unwrap_or_else(|panic| Err(std::io::Error::other(panic))) {
            Ok(()) => {
                *saved = Some(known.snapshot);
                *self.0.disk.lock() = DiskStatus { saved_at: Some(as_of), error: None };
            }
            Err(error) => {
                let error = format!("writing {}: {error}", path.display());
                let mut disk = self.0.disk.lock();
                if disk.error.as_ref() != Some(&error) {
                    tracing::error!(registry = &*self.0.registry, "last known good: {error}");
                }
                disk.error = Some(error);
            }
        }
    }
}

/// True if the value read at `checked` is current. A fault older than `checked` is about another part of the
/// registry (one file, one service) and does not count.
fn is_current(health: &RegistryHealth, checked: Instant) -> bool {
    match health {
        RegistryHealth::Live => true,
        RegistryHealth::Degraded(trouble) => trouble.since < checked,
        RegistryHealth::Connecting => false,
    }
}

fn savable(known: &Known) -> bool {
    known.freshness == Freshness::Live && known.held.is_none()
}

fn earlier(next: Option<Instant>, at: Instant) -> Option<Instant> {
    Some(next.map_or(at, |next| next.min(at)))
}

async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
