//! Waiting for changes, and then until their writers have finished.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Writers write in pieces and files: wait until nothing happened for so long ...
const QUIET: Duration = Duration::from_millis(40);
/// ... and no file is in the middle of being written, but not longer than this after the first change.
const QUIET_MAX: Duration = Duration::from_millis(600);

/// From the system's thread to the registry's task. However much happens, it holds no more than the names
/// of the files that are being written.
#[derive(Debug, Default)]
pub(super) struct Changes {
    happened: Notify,
    /// Whether something happened since the last wait.
    news: AtomicBool,
    writers: Mutex<Writers>,
}

/// The files that are in the middle of being written.
#[derive(Debug, Default)]
struct Writers {
    /// The next look waits for them.
    awaited: BTreeSet<PathBuf>,
    /// They were waited for long enough, and have not been closed yet.
    late: BTreeSet<PathBuf>,
}

impl Changes {
    /// Something may have changed.
    pub(super) fn wake(&self) {
        self.news.store(true, Ordering::Relaxed);
        self.happened.notify_one();
    }

    /// That has happened. Between a write and the closing of the file, half of it may be there.
    pub(super) fn note(&self, event: &Event) {
        let mut writers = self.writers();
        for path in &event.paths {
            match event.kind {
                EventKind::Modify(ModifyKind::Data(_)) => _ = writers.awaited.insert(path.clone()),
                EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Remove(_)
                | EventKind::Modify(ModifyKind::Name(_)) => {
                    writers.awaited.remove(path);
                    writers.late.remove(path);
                }
                _ => {}
            }
        }
        drop(writers);
        self.wake();
    }

    /// Waits for a change, but not longer than `at_most`, and then until the writers are done, if that does
    /// not take too long. Says whether there was one.
    pub(super) async fn settled(&self, at_most: Duration) -> bool {
        if timeout_at(Instant::now() + at_most, self.happened.notified()).await.is_err() {
            return false;
        }
        let end = Instant::now() + QUIET_MAX;
        while Instant::now() < end {
            let quiet = if self.is_writing() { end } else { end.min(Instant::now() + QUIET) };
            if timeout_at(quiet, self.happened.notified()).await.is_err() {
                break;
            }
        }
        // Who keeps a file open for ever does not make the next change wait.
        let mut writers = self.writers();
        let awaited = std::mem::take(&mut writers.awaited);
        writers.late.extend(awaited);
        drop(writers);
        self.news.store(false, Ordering::Relaxed);
        true
    }

    /// Whether something has happened since the last wait: the next one is short.
    pub(super) fn has_news(&self) -> bool {
        self.news.load(Ordering::Relaxed)
    }

    /// Whether no file is known to be in the middle of being written, and nothing has happened since the last
    /// wait: what has been read since then is whole.
    pub(super) fn are_writers_done(&self) -> bool {
        let mut writers = self.writers();
        // Of a file in a folder that was replaced nothing more is told.
        writers.late.retain(|path| path.exists());
        !self.has_news() && writers.awaited.is_empty() && writers.late.is_empty()
    }

    fn is_writing(&self) -> bool {
        !self.writers().awaited.is_empty()
    }

    fn writers(&self) -> MutexGuard<'_, Writers> {
        self.writers.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use notify::event::DataChange;
    use tokio::task::JoinSet;

    use super::*;

    const WRITE: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const CLOSE: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));

    fn event(kind: EventKind) -> Event {
        Event::new(kind).add_path(std::env::current_exe().expect("a file that exists"))
    }

    async fn settled_after(changes: &Changes) -> Duration {
        let start = Instant::now();
        assert!(changes.settled(Duration::from_secs(30)).await && !changes.has_news());
        start.elapsed()
    }

    /// The clock stands in these tests and jumps to the next deadline; a little is lost to rounding.
    fn is_about(found: Duration, expected: Duration) -> bool {
        found >= expected && found < expected + Duration::from_millis(5)
    }

    #[tokio::test(start_paused = true)]
    async fn a_finished_write_is_read_after_a_short_quiet_time() {
        let changes = Changes::default();
        changes.note(&event(WRITE));
        changes.note(&event(CLOSE));
        let after = settled_after(&changes).await;
        assert!(is_about(after, QUIET), "{after:?}");
        assert!(changes.are_writers_done());
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_file_is_waited_for_but_not_for_ever() {
        let changes = Arc::new(Changes::default());
        changes.note(&event(WRITE));
        let mut writer = JoinSet::new();
        let closing = Arc::clone(&changes);
        let pause = Duration::from_millis(300);
        writer.spawn(async move {
            let forever = timeout_at(Instant::now() + pause, std::future::pending::<()>());
            assert!(forever.await.is_err());
            closing.note(&event(CLOSE));
        });
        let after = settled_after(&changes).await;
        assert!(is_about(after, pause + QUIET), "{after:?}");
        assert!(changes.are_writers_done());

        changes.note(&event(WRITE));
        let after = settled_after(&changes).await;
        assert!(is_about(after, QUIET_MAX), "{after:?}");
        // Whatever else happens, that file is half written until it is closed.
        changes.wake();
        let after = settled_after(&changes).await;
        assert!(is_about(after, QUIET), "{after:?}");
        assert!(!changes.are_writers_done());
        changes.note(&event(CLOSE));
        assert!(!changes.are_writers_done(), "what was read before it was closed");
        settled_after(&changes).await;
        assert!(changes.are_writers_done());
    }

    #[tokio::test(start_paused = true)]
    async fn without_notice_the_wait_ends_by_itself() {
        let changes = Changes::default();
        let start = Instant::now();
        assert!(!changes.settled(Duration::from_millis(900)).await);
        assert!(is_about(start.elapsed(), Duration::from_millis(900)));
        // A writer who begins just then is not overlooked.
        changes.note(&event(WRITE));
        assert!(changes.has_news());
        changes.note(&event(CLOSE));
        assert!(is_about(settled_after(&changes).await, QUIET));
    }
}
