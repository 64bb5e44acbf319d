//! Follows the files: read, publish, wait for a change, read again.

mod changes;
mod notice;
mod watch;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pilot_registry::{
    Fault, Memory, RegistryError, Reload, ServiceRegistry, Snapshot, SnapshotSink, async_trait,
};
use tokio::time::Instant;

use crate::Config;
use crate::files::Trouble;
use crate::last_good::{LastGood, View};
use changes::Changes;
pub use notice::Notice;
use watch::Watch;

/// How often to look where the system gives no notice of some change.
const UNWATCHED: Duration = Duration::from_millis(900);
/// How often to look where it tells of every change: what is published is never older than this, and a
/// notice that gets lost costs no more.
const RECHECK: Duration = Duration::from_secs(30);

/// A registry of the services that files describe. Made by [`crate::registry`].
#[derive(Clone, Debug)]
pub struct FileRegistry {
    config: Config,
    memory: Memory<Remembered>,
    reload: Reload,
}

/// From one attempt to the next: one that begins anew forgets nothing that was in force, and no writer that was in
/// the middle of a file.
#[derive(Debug, Default)]
struct Remembered {
    last_good: Arc<Mutex<LastGood>>,
    changes: Arc<Changes>,
}

impl FileRegistry {
    pub(crate) fn new(config: Config) -> Self {
        let reload = Reload::new(config.path.display().to_string());
        Self { config, memory: Memory::default(), reload }
    }
}

#[async_trait]
impl ServiceRegistry for FileRegistry {
    fn name(&self) -> &'static str {
        "file"
    }

    /// Runs for ever: whatever is wrong with the files is a fault that ends when they are mended.
    async fn run(&self, sink: &SnapshotSink) -> Result<Infallible, RegistryError> {
        let remembered = self.memory.lend();
        let changes = &remembered.changes;
        let mut asked = self.reload.asked();
        let mut watch = None;
        let mut faults = Faults::default();
        let mut told = true;
        loop {
            let (view, watched);
            (watch, view, watched) = self.look(watch, &remembered).await?;
            let is_finished = changes.are_writers_done();
            // A look that nothing called for may have met a writer in the middle of a file. Then there is
            // news by now, and another look follows.
            let missing = view.missing;
            if told || !changes.has_news() {
                publish(sink, view, is_finished, watched.err(), &mut faults);
            }
            let sees_all = !missing && watch.as_ref().is_some_and(Watch::sees_all);
            let at_most = if sees_all { RECHECK } else { UNWATCHED };
            told = tokio::select! {
                told = changes.settled(at_most) => told,
                // Also then, whoever writes is waited for.
                Ok(()) = asked.changed() => {
                    changes.wake();
                    changes.settled(at_most).await
                }
            };
        }
    }

    fn reload(&self) -> Option<Reload> {
        Some(self.reload.clone())
    }
}

impl FileRegistry {
    /// Watches first and reads then, so that no change falls between the two. In a thread of its own:
    /// disks may be slow and files large.
    async fn look(
        &self,
        mut watch: Option<Watch>,
        remembered: &Remembered,
    ) -> Result<(Option<Watch>, View, Result<(), Trouble>), RegistryError> {
        let Remembered { last_good, changes } = remembered;
        let (config, last_good, changes) = (self.config.clone(), Arc::clone(last_good), Arc::clone(changes));
        let look = tokio::task::spawn_blocking(move || {
            let watched = watch::arm(&mut watch, &config.path, &changes);
            // After a panic it lacks some files, and they are read again.
            let view = last_good.lock().look(&config, Instant::now());
            (watch, view, watched)
        });
        let failed = |error| RegistryError::unavailable("reading the files was broken off").caused_by(error);
        look.await.map_err(failed)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    File,
    Watch,
}

/// The faults that stand, by what they are about. One that stays keeps its beginning.
#[derive(Default)]
struct Faults(BTreeMap<(Kind, PathBuf), (Trouble, Fault<Snapshot>)>);

/// What of a file is missing because its writer has not finished (`is_finished`) is not anybody's wish yet.
fn publish(
    sink: &SnapshotSink,
    view: View,
    is_finished: bool,
    unwatched: Option<Trouble>,
    faults: &mut Faults,
) {
    // New faults before the value, and old ones until after it: a value that is not all that the files
    // say never looks like one that is.
    let mut old = std::mem::take(&mut faults.0);
    let troubles = view.troubles.into_iter().map(|trouble| (Kind::File, trouble));
    for (kind, trouble) in troubles.chain(unwatched.map(|trouble| (Kind::Watch, trouble))) {
        let key = (kind, trouble.problem.file.clone());
        let standing = old.remove(&key).filter(|(standing, _)| *standing == trouble);
        let (trouble, fault) = standing.unwrap_or_else(|| {
            // As a value, what a file holds is escaped.
            let what = match view.unread.contains(&trouble.problem.file) {
                true => "nothing of it was read since pilot started: it is read again when it changes",
                false => "the last good content stays",
            };
            tracing::warn!(problem = trouble.problem.to_string(), "{what}");
            let fault = sink.fault(trouble.error());
            (trouble, fault)
        });
        faults.0.insert(key, (trouble, fault));
    }
    if view.fresh {
        for (file, rejected) in &view.rejected {
            sink.skipped(rejected.entry(file), rejected.why());
        }
        let means_it = view.means_it && is_finished;
        sink.publish(if means_it { view.snapshot.deliberate() } else { view.snapshot });
    }
    drop(old);
}
