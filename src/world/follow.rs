//! How a world follows what registries and stores of rules say: one step after another, and newcomers beside them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::conflicts::tell_disagreements;
use super::debounce::Debounce;
use super::judged::Judged;
use super::news::News;
use super::outages::Outages;
use super::verdicts::VerdictLog;
use super::wait::{next_change, reached};
use super::{Served, World};
use crate::catalog::{Catalog, Known, RegistryState, Source};
use crate::mesh::Mesh;
use crate::rules::Rules;
use crate::translate::Job;

/// What one translation cost.
#[derive(Clone, Copy, Debug)]
pub struct Translated {
    /// From its beginning to its end.
    pub took: Duration,
    /// How many services and layers failed to be translated that did not fail before.
    pub failures: usize,
}

impl World {
    /// Takes in what the registries and the stores of rules say and keeps the world up to date, for ever. `translated` is
    /// told what each translation cost.
    pub async fn follow(&self, debounce: Debounce, translated: impl Fn(Translated) + Send + Sync) {
        let registries = self.0.registries.iter();
        let intakes = registries.map(|registered| registered.intake.follow(&registered.feed));
        let mut intakes: FuturesUnordered<_> = intakes.collect();
        // None of them ends, and none waits for another; a world without any registry goes on as well.
        let steps = self.advance_with(debounce, &translated);
        let newcomers = self.bring_newcomers(&translated);
        tokio::join!(steps, newcomers, self.0.rulebook.follow(), intakes.next());
    }

    /// Writes what of registries and rules is not on disk yet, for the end.
    pub async fn flush(&self) {
        let registries = self.0.registries.iter();
        let registries = registries.map(|registered| registered.intake.flush(&registered.feed));
        tokio::join!(join_all(registries), self.0.rulebook.flush());
    }

    async fn advance_with(&self, mut debounce: Debounce, translated: &(impl Fn(Translated) + Send + Sync)) {
        let mut changes = FuturesUnordered::new();
        for registered in &self.0.registries {
            let mut receiver = registered.intake.subscribe();
            // What was published before counts too.
            receiver.mark_changed();
            changes.push(next_change(receiver));
        }
        let mut rules = self.0.rulebook.subscribe();
        if self.0.rulebook.generation() > 0 {
            rules.mark_changed();
        }
        let mut rules = Box::pin(next_change(rules));
        let mut seen = vec![0; self.0.registries.len()];
        let (mut news, mut outages) = (News::default(), Outages::default());
        let (mut verdicts, mut judging) = (VerdictLog::default(), FuturesUnordered::new());
        loop {
            tokio::select! {
                Some(receiver) = changes.next() => {
                    changes.push(next_change(receiver));
                    if self.generations() != seen {
                        debounce.changed(Instant::now());
                        self.note_unserved(&seen);
                    }
                }
                receiver = &mut rules => {
                    rules.set(next_change(receiver));
                    debounce.changed(Instant::now());
                }
                () = reached(Some(debounce.deadline())), if debounce.is_pending() => {
                    debounce.pushed(Instant::now());
                    let (oldest, now) = (self.oldest_change(&seen), self.generations());
                    let (rules_generation, rules) = self.0.rulebook.in_force();
                    let advanced = self.advance(oldest, rules, translated).await;
                    if advanced {
                        seen = now;
                        *self.0.unserved_since.lock() = None;
                    }
                    self.note_unserved(&seen);
                    if advanced {
                        let mesh = self.0.store.generation();
                        self.0.served.send_replace(Served { mesh, rules: rules_generation });
                    }
                    if !self.0.rulebook.stores().is_empty() {
                        verdicts.changed(Instant::now());
                    }
                    self.tell(&mut news);
                    if let Some(mesh) = self.mesh() {
                        outages.tell(&mesh);
                    }
                }
                () = reached(news.due()) => self.tell(&mut news),
                () = reached(verdicts.due()), if judging.is_empty() => {
                    verdicts.begin();
                    judging.push(self.judge());
                }
                Some(judged) = judging.next() => {
                    if let Some((judged, took)) = judged {
                        verdicts.tell(&judged, took);
                    }
                }
            }
        }
    }

    fn tell(&self, news: &mut News) {
        if let Some(mesh) = self.mesh() {
            news.tell(&mesh.catalog);
        }
    }

    fn generations(&self) -> Vec<u64> {
        self.states().map(|state| state.generation).collect()
    }

    fn states(&self) -> impl Iterator<Item = RegistryState> {
        self.0.registries.iter().map(|registered| registered.intake.state())
    }

    fn note_unserved(&self, seen: &[u64]) {
        let unserved = self.generations() != seen;
        let mut since = self.0.unserved_since.lock();
        // A registry that says something else meanwhile makes the oldest change no younger.
        *since = unserved.then(|| since.unwrap_or_else(|| self.oldest_change(seen)));
    }

    /// When the first of the changes since the generations `seen` was published, as far as it is known.
    fn oldest_change(&self, seen: &[u64]) -> Instant {
        let fresh = self.states().zip(seen).filter(|(it, seen)| it.generation != **seen);
        fresh.filter_map(|(it, _)| it.known).map(|it| it.changed).min().unwrap_or_else(Instant::now)
    }

    /// What is known, if it is enough to serve: every registry is settled, and of one something is known.
    fn sources(&self) -> Option<Vec<Source>> {
        let states: Vec<_> = self.states().collect();
        if !states.iter().all(RegistryState::is_settled) {
            return None;
        }
        let known = self.0.registries.iter().zip(states).filter_map(|(registered, state)| {
            let Known { snapshot, held, .. } = state.known?;
            let (registry, priority) = (Arc::clone(&registered.name), registered.priority);
            Some(Source { registry, priority, snapshot, held, documents: None })
        });
        Some(known.collect()).filter(|known: &Vec<_>| !known.is_empty() || self.0.registries.is_empty())
    }

    /// Merges what the registries know into a new mesh and translates it, if that is enough to serve. Says whether it
    /// was done.
    async fn advance(
        &self,
        changed: Instant,
        rules: Option<Rules>,
        translated: &(impl Fn(Translated) + Send + Sync),
    ) -> bool {
        let Some((sources, rules)) = self.sources().zip(rules) else { return false };
        let before = self.mesh();
        let (world, old) = (self.clone(), before.clone());
        let merged = tokio::task::spawn_blocking(move || {
            let mesh = match &old {
                Some(old) => old.next(&sources, rules),
                None => Mesh::new(world.0.options.clone()).next(&sources, rules),
            };
            if old.is_some_and(|old| old.catalog.same(&mesh.catalog) && old.rules.same(&mesh.rules)) {
                return None;
            }
            let mesh = Arc::new(mesh);
            let step = world.0.store.step(Arc::clone(&mesh), changed);
            step.prepare();
            Some((mesh, step))
        });
        match merged.await {
            Ok(Some((mesh, step))) => {
                let is_told_otherwise = before.as_ref().is_some_and(|before| {
                    !before.rules.tell_apart_like(&mesh.rules) || before.label_values() != mesh.label_values()
                });
                let before = before.as_ref().map(|before| &before.catalog);
                tell_disagreements(&mesh.catalog, before);
                self.0.mesh.send_replace(Some(Arc::clone(&mesh)));
                let started = Instant::now();
                let failures = self.0.store.take(&step).await;
                translated(Translated { took: started.elapsed(), failures });
                if is_told_otherwise {
                    self.0.whereabouts.tell_everybody();
                }
                self.0.whereabouts.tell(before.unwrap_or(&Catalog::default()), &mesh.catalog);
                true
            }
            Ok(None) => true,
            Err(error) => {
                tracing::error!(%error, "merging registries failed, which is a bug: all stays as it was");
                translated(Translated { took: Duration::ZERO, failures: 1 });
                false
            }
        }
    }

    /// What became of each document, and how long it took to find out, on a thread that may take its time.
    async fn judge(&self) -> Option<(Arc<[Judged]>, Duration)> {
        let world = self.clone();
        let judged = tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            (world.mesh().is_some()).then(|| (world.judged(), began.elapsed()))
        });
        judged.await.unwrap_or_else(|error| {
            tracing::error!(%error, "judging documents failed: this is a bug");
            None
        })
    }

    /// Makes the layers that somebody waits for, or whose making failed: each for itself, beside the changes.
    async fn bring_newcomers(&self, translated: &(impl Fn(Translated) + Send + Sync)) {
        let mut beside = FuturesUnordered::new();
        loop {
            beside.extend(self.0.store.newcomers().into_iter().map(|job| self.bring(job, translated)));
            tokio::select! {
                () = self.0.store.wanted() => {}
                // What is made from it may be wanted, too.
                Some(()) = beside.next() => {}
            }
        }
    }

    /// Makes a layer and publishes it.
    async fn bring(&self, job: Job, translated: &(impl Fn(Translated) + Send + Sync)) {
        let begun = Instant::now();
        let failures = self.0.store.bring(job).await;
        translated(Translated { took: begun.elapsed(), failures });
    }
}
