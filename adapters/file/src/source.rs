//! Follows the files: read, publish, wait for a change, read again.

mod changes;
mod notice;
mod watch;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pilot_registry::{
    Content, Fault, Memory, RegistryError, Reload, RuleStore, ServiceRegistry, Sink, Snapshot, SnapshotSink,
    TextSink, Texts, async_trait,
};
use tokio::time::Instant;

use crate::files::Trouble;
use crate::last_good::{LastGood, View};
use crate::texts::LastTexts;
use crate::{Config, RulesConfig};
use changes::Changes;
pub use notice::Notice;
use watch::Watch;

/// How often to look where the system gives no notice of some change.
const UNWATCHED: Duration = Duration::from_millis(900);
/// How often to look where it tells of every change: what is published is never older than this, and a
/// notice that gets lost costs no more.
const RECHECK: Duration = Duration::from_secs(30);

/// What is read from files, and what of it is in force.
trait Reading: Default + Send + 'static {
    /// What says which files.
    type Config: Clone + Send + Sync + 'static;
    /// What they say together.
    type Value: Content + Meant;

    /// Reads everything again.
    fn look(&mut self, config: &Self::Config, now: Instant) -> View<Self::Value>;

    /// The file or folder.
    fn path(config: &Self::Config) -> &Path;
}

/// What somebody may have meant.
trait Meant {
    /// The same, and somebody meant it.
    fn meant(self) -> Self;
}

/// A registry of the services that files describe. Made by [`crate::registry`].
#[derive(Clone, Debug)]
pub struct FileRegistry(Follower<LastGood>);

/// A store of the rule documents in files. Made by [`crate::rules`].
#[derive(Clone, Debug)]
pub struct FileRules(Follower<LastTexts>);

/// Follows files.
#[derive(Debug)]
struct Follower<R: Reading> {
    config: R::Config,
    memory: Memory<Remembered<R>>,
    reload: Reload,
}

/// From one attempt to the next: one that begins anew forgets nothing that was in force, and no writer that was in
/// the middle of a file.
#[derive(Debug)]
struct Remembered<R> {
    last_good: Arc<Mutex<R>>,
    changes: Arc<Changes>,
}

impl FileRegistry {
    pub(crate) fn new(config: Config) -> Self {
        Self(Follower::new(config))
    }
}

impl FileRules {
    pub(crate) fn new(config: RulesConfig) -> Self {
        Self(Follower::new(config))
    }
}

#[async_trait]
impl ServiceRegistry for FileRegistry {
    fn name(&self) -> &'static str {
        "file"
    }

    /// Runs for ever: whatever is wrong with the files is a fault that ends when they are mended.
    async fn run(&self, sink: &SnapshotSink) -> Result<Infallible, RegistryError> {
        self.0.run(sink).await
    }

    fn reload(&self) -> Option<Reload> {
        Some(self.0.reload.clone())
    }
}

#[async_trait]
impl RuleStore for FileRules {
    fn name(&self) -> &'static str {
        "file"
    }

    /// Runs for ever: whatever is wrong with the files is a fault that ends when they are mended.
    async fn run(&self, sink: &TextSink) -> Result<Infallible, RegistryError> {
        self.0.run(sink).await
    }

    fn reload(&self) -> Option<Reload> {
        Some(self.0.reload.clone())
    }
}

impl Reading for LastGood {
    type Config = Config;
    type Value = Snapshot;

    fn look(&mut self, config: &Config, now: Instant) -> View<Snapshot> {
        self.look(config, now)
    }

    fn path(config: &Config) -> &Path {
        &config.path
    }
}

impl Reading for LastTexts {
    type Config = RulesConfig;
    type Value = Texts;

    fn look(&mut self, config: &RulesConfig, _: Instant) -> View<Texts> {
        self.look(config)
    }

    fn path(config: &RulesConfig) -> &Path {
        &config.path
    }
}

impl Meant for Snapshot {
    fn meant(self) -> Self {
        self.deliberate()
    }
}

impl Meant for Texts {
    fn meant(self) -> Self {
        self.deliberate()
    }
}

impl<R: Reading> Follower<R> {
    fn new(config: R::Config) -> Self {
        let reload = Reload::new(R::path(&config).display().to_string());
        Self { config, memory: Memory::default(), reload }
    }

    async fn run(&self, sink: &Sink<R::Value>) -> Result<Infallible, RegistryError> {
        let remembered = self.memory.lend();
        let changes = &remembered.changes;
        let mut asked = self.reload.asked();
        let mut watch = None;
        let mut faults = Faults(BTreeMap::new());
        let mut told = true;
        loop {
            let (view, watched);
            (watch, view, watched) = self.look(watch, &remembered).await?;
            let is_finished = changes.are_writers_done();
            // A look that nothing called for may have met a writer in the middle of a file. Then there is
            // news by now, and another look follows.
            let missing = view.missing;
            if told || !changes.has_news() {
                publish(sink, R::path(&self.config), view, is_finished, watched.err(), &mut faults);
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

    /// Watches first and reads then, so that no change falls between the two. In a thread of its own:
    /// disks may be slow and files large.
    async fn look(
        &self,
        mut watch: Option<Watch>,
        remembered: &Remembered<R>,
    ) -> Result<(Option<Watch>, View<R::Value>, Result<(), Trouble>), RegistryError> {
        let Remembered { last_good, changes } = remembered;
        let (config, last_good, changes) = (self.config.clone(), Arc::clone(last_good), Arc::clone(changes));
        let span = tracing::Span::current();
        let look = tokio::task::spawn_blocking(move || {
            // What is said there is of the same registry.
            let _within = span.entered();
            let watched = watch::arm(&mut watch, R::path(&config), &changes);
            // After a panic it lacks some files, and they are read again.
            let view = last_good.lock().look(&config, Instant::now());
            (watch, view, watched)
        });
        let failed = |error| RegistryError::unavailable("reading the files was broken off").caused_by(error);
        look.await.map_err(failed)
    }
}

// Not derived: what is read is never cloned.
impl<R: Reading> Clone for Follower<R> {
    fn clone(&self) -> Self {
        Self { config: self.config.clone(), memory: self.memory.clone(), reload: self.reload.clone() }
    }
}

impl<R: Default> Default for Remembered<R> {
    fn default() -> Self {
        Self { last_good: Arc::default(), changes: Arc::default() }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    File,
    Watch,
}

/// The faults that stand, by what they are about. One that stays keeps its beginning.
struct Faults<T: Content>(BTreeMap<(Kind, PathBuf), (Trouble, Fault<T>)>);

/// What of a file is missing because its writer has not finished (`is_finished`) is not anybody's wish yet.
fn publish<T: Content + Meant>(
    sink: &Sink<T>,
    path: &Path,
    view: View<T>,
    is_finished: bool,
    unwatched: Option<Trouble>,
    faults: &mut Faults<T>,
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
            // Of what has no place in a file, it may be the path that is wrong.
            let is_path = trouble.problem.line.is_none() && trouble.problem.file == path;
            let key = is_path.then_some("path");
            tracing::warn!(key, problem = trouble.problem.to_string(), "{what}");
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
        sink.publish(if means_it { view.value.meant() } else { view.value });
    }
    drop(old);
}
