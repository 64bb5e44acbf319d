//! What can change while pilot serves: SIGHUP reloads it, and what needs a restart is said.
//!
//! ```text
//!  SIGHUP ──► Reload of each registry that reads files      says what was reloaded
//!     └─────► pilot.toml, read again ──► compared with the one of the start ──► log
//!  pilot.toml was edited ──┘                            (an edit is said once)
//! ```
//!
//! Certificates, when there are any, are one more [`Reload`].

use std::convert::Infallible;
use std::io;

use pilot_registry::Reload;
use tokio::sync::Notify;

use super::{Global, Loaded};
use crate::config::{Problems, changed_keys};
use crate::registries::{self, Sources};
use crate::shutdown::HangUps;

/// A broken file may have many mistakes: so many are said.
const PROBLEMS_MAX: usize = 10;

/// What is reloaded, and the configuration that pilot was started with.
pub(super) struct Reloading {
    global: Global,
    started_with: Loaded,
    reloads: Vec<(String, Reload)>,
    hang_ups: HangUps,
}

/// pilot.toml, compared with the one that pilot was started with.
#[derive(Clone, Debug, PartialEq)]
enum Comparison {
    Same,
    /// The keys that differ.
    Changed(Vec<String>),
    Broken(Problems),
}

impl Reloading {
    /// From now on SIGHUP ends nothing.
    ///
    /// # Errors
    /// Signals cannot be handled here.
    pub(super) fn of(global: Global, started_with: Loaded, sources: &Sources) -> io::Result<Self> {
        let of = |name: &str, reload: Option<Reload>| reload.map(|reload| (name.to_owned(), reload));
        let registries = sources.registries.iter().filter_map(|it| of(&it.name, it.registry.reload()));
        let rules =
            sources.rules.iter().filter_map(|it| of(&format!("rules.{}", it.name), it.store.reload()));
        let reloads = registries.chain(rules).collect();
        Ok(Self { global, started_with, reloads, hang_ups: HangUps::all()? })
    }

    /// Reloads when SIGHUP says so, and tells of edits of pilot.toml, for ever.
    pub(super) async fn follow(mut self) -> Infallible {
        let (edited, path) = (Notify::new(), self.global.config.clone());
        tokio::select! {
            never = registries::follow_file(&path, || edited.notify_one()) => never,
            never = self.answer(&edited) => never,
        }
    }

    async fn answer(&mut self, edited: &Notify) -> Infallible {
        let mut said = Comparison::Same;
        loop {
            let asked = tokio::select! {
                () = self.hang_ups.next() => true,
                () = edited.notified() => false,
            };
            if asked {
                self.reload();
            }
            let Some(comparison) = self.comparison().await else { continue };
            if asked || comparison != said {
                self.tell(&comparison, asked);
            }
            said = comparison;
        }
    }

    /// Asks for all that can be read again, and says what that is.
    fn reload(&self) {
        if self.reloads.is_empty() {
            tracing::info!("SIGHUP: nothing is reloaded, as no registry reads files");
            return;
        }
        let files: Vec<String> =
            self.reloads.iter().map(|(registry, reload)| format!("{registry}: {}", reload.what())).collect();
        self.reloads.iter().for_each(|(_, reload)| reload.ask());
        tracing::info!(files = files.join(", "), "SIGHUP: files of registries are read again");
    }

    /// Reads pilot.toml as the start did, on a thread of its own: a disk may be slow. `None`: it cannot be read again.
    async fn comparison(&self) -> Option<Comparison> {
        let (global, started_with) = (self.global.clone(), self.started_with.clone());
        let read = tokio::task::spawn_blocking(move || {
            // A pipe has been read, and says no more. A folder is an error, like all else that cannot be read.
            if std::fs::metadata(&global.config).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
                return None;
            }
            Some(match global.load_quietly() {
                Err(problems) => Comparison::Broken(problems),
                Ok(loaded) => match changed_keys(&started_with, &loaded) {
                    keys if keys.is_empty() => Comparison::Same,
                    keys => Comparison::Changed(keys),
                },
            })
        });
        // The runtime ends.
        read.await.unwrap_or(None)
    }

    fn tell(&self, comparison: &Comparison, asked: bool) {
        let file = self.global.config.display().to_string();
        match comparison {
            // Whoever asked has heard what was reloaded.
            Comparison::Same if asked => {}
            Comparison::Same => tracing::info!(file, "the configuration is again the one of the start"),
            Comparison::Changed(keys) => {
                let keys = keys.join(", ");
                tracing::warn!(file, keys, "the configuration has changed: that needs a restart of pilot");
            }
            Comparison::Broken(Problems(problems)) => {
                for problem in problems.iter().take(PROBLEMS_MAX) {
                    let problem = problem.to_string();
                    tracing::warn!(
                        problem,
                        "the configuration is not in order: pilot goes on with the one of the start"
                    );
                }
                if let Some(more) = problems.len().checked_sub(PROBLEMS_MAX).filter(|more| *more > 0) {
                    tracing::warn!(
                        file,
                        more,
                        "the configuration has more problems: `pilot check` shows all"
                    );
                }
            }
        }
    }
}
