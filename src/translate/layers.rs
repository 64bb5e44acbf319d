//! The layers in use, and what has to be made anew at each step.
//!
//! ```text
//!            LayerKey::Scoped         endpoints that only a namespace sees      made from the mesh
//!            LayerKey::AudienceParts  the audience's routes, in parts           made from the audience
//!            LayerKey::Audience       what a namespace sees otherwise           ┐ made from the base
//!            LayerKey::Parts          listeners, and the base's routes in parts ┘
//!  a scope   LayerKey::Place          endpoints nearer or farther               ┐
//!  sees, top LayerKey::Base           clusters, listeners, routes               ├ made from the mesh, each on its own
//!  to bottom LayerKey::Endpoints      endpoints as everybody sees them          ┘
//! ```
//!
//! Nothing here waits or runs anything: [`Layers`] says which layers a step touches ([`Layers::jobs`]), somebody runs
//! these jobs on as many cores as there are, and [`Layers::commit`] takes the results in, all at once. A step costs what
//! it touches, however many layers there are.
//!
//! A layer that comes into use is made beside the steps ([`Layers::newcomers`]), from nothing, and catches up with
//! those that were taken meanwhile ([`Layers::arrived`]). So is a layer whose making failed: the last one stays until
//! then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use super::base::Base;
use super::conflict::Conflict;
use super::job::{Built, Job, Made, Maker, Results};
use super::key::LayerKey;
use super::step::Step;
use crate::mesh::Mesh;
use crate::proxy::Scope;
use crate::resources::{PublishedAt, View};

/// Jobs of one wave need nothing of each other, and what waves before have made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wave {
    /// Layers that are made from the mesh alone.
    Mesh,
    /// Layers that are made from a base.
    Base,
    /// Layers that are made from an audience.
    Audience,
}

impl Wave {
    /// All waves, in order.
    pub const ALL: [Self; 3] = [Self::Mesh, Self::Base, Self::Audience];
}

/// What becomes of a layer that was made beside the steps.
pub enum Arrived {
    /// Nobody wants it any more.
    Unused,
    /// It is of an older mesh: this makes it one of the present mesh.
    Behind(Job),
    /// It is to be committed, with what is made from it.
    Ready(Arc<Step>, Results),
}

/// What becomes of a layer whose making fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failing {
    /// It is made from nothing, at once.
    BeginsAnew,
    /// It waits for the next mesh: it failed from nothing.
    Waits,
}

/// The layers in use.
#[derive(Clone, Default)]
pub struct Layers {
    generation: u64,
    mesh: Option<Arc<Mesh>>,
    made: BTreeMap<LayerKey, Made>,
    /// Those that are made from another layer, by that.
    above: BTreeMap<LayerKey, BTreeSet<LayerKey>>,
    /// Those that are to be made from nothing, and nobody has begun.
    wanted: BTreeSet<LayerKey>,
    /// Those that are being made beside the steps, and what becomes of one that fails.
    building: BTreeMap<LayerKey, Failing>,
    /// Those whose making failed, with the reason. What is made of them is older than the mesh.
    broken: BTreeMap<LayerKey, Arc<str>>,
    /// Those in which the translation of a service failed.
    failing: BTreeSet<LayerKey>,
    /// Steps to the present mesh from earlier ones, by their generation, while somebody takes them.
    catch_ups: BTreeMap<u64, Weak<Step>>,
    maker: Maker,
}

impl Layers {
    /// Layers are made with that.
    #[cfg(test)]
    pub(crate) fn make_with(&mut self, maker: Maker) {
        self.maker = maker;
    }

    /// The layers that are made.
    #[cfg(test)]
    pub(crate) fn keys(&self) -> impl Iterator<Item = &LayerKey> {
        self.made.keys()
    }

    /// The mesh that they are of; `None` = not known yet.
    pub fn mesh(&self) -> Option<&Arc<Mesh>> {
        self.mesh.as_ref()
    }

    /// A copy for which nobody makes anything: what is being made is yet to be made for it.
    pub fn copy(&self) -> Self {
        let mut copy = self.clone();
        copy.wanted.extend(std::mem::take(&mut copy.building).into_keys());
        copy.catch_ups.clear();
        copy
    }

    /// The number of that mesh; each has a greater one than those before.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The layer of that key, if it is made.
    pub fn get(&self, key: &LayerKey) -> Option<&Made> {
        self.made.get(key)
    }

    /// A layer comes into use. Says whether it is to be made.
    pub fn want(&mut self, key: &LayerKey) -> bool {
        let is_known = self.made.contains_key(key) || self.building.contains_key(key);
        !is_known && !self.broken.contains_key(key) && self.wanted.insert(key.clone())
    }

    /// The layers of a scope come into use.
    pub fn follow(&mut self, scope: &Scope) {
        LayerKey::of(scope).iter().for_each(|key| _ = self.want(key));
    }

    /// A layer is no longer in use.
    pub fn forget(&mut self, key: &LayerKey) {
        self.made.remove(key);
        self.wanted.remove(key);
        self.building.remove(key);
        self.broken.remove(key);
        self.failing.remove(key);
        let Some(below) = key.below() else { return };
        if let Some(above) = self.above.get_mut(&below) {
            above.remove(key);
            if above.is_empty() {
                self.above.remove(&below);
            }
        }
    }

    /// The step to a mesh.
    pub fn step(&self, mesh: Arc<Mesh>, changed: PublishedAt) -> Arc<Step> {
        Arc::new(Step::new(self.mesh.clone(), mesh, self.generation + 1, changed))
    }

    /// What is made already and a step touches, of one wave, and is not `done` yet. `done`: what waves before have made,
    /// and this one for layers that were made earlier.
    pub fn jobs(&self, step: &Arc<Step>, wave: Wave, done: &Results) -> Vec<Job> {
        let touched = match wave {
            Wave::Mesh => self.touched(step),
            Wave::Base => done.keys().flat_map(|key| self.touched_above_base(key, step, done)).collect(),
            Wave::Audience => {
                done.keys().flat_map(|key| self.touched_above_audience(key, step, done)).collect()
            }
        };
        let job = |(key, made): (&LayerKey, &Made)| {
            let is_continued = !self.broken.contains_key(key) && !self.building.contains_key(key);
            let is_continued = is_continued && !done.contains_key(key);
            is_continued.then(|| self.job(key, Some(made.clone()), step, done))?
        };
        touched.into_iter().filter_map(job).collect()
    }

    /// `None`: what it is made from is not made.
    fn job(&self, key: &LayerKey, before: Option<Made>, step: &Arc<Step>, done: &Results) -> Option<Job> {
        let base = match key.base() {
            Some(base) => Some(Arc::clone(self.base(&base, done)?)),
            None => None,
        };
        let audience = match key.audience() {
            Some(audience) => Some(Arc::clone(self.audience(&audience, done)?)),
            None => None,
        };
        let (key, step) = (key.clone(), Arc::clone(step));
        Some(Job { key, before, base, audience, step, maker: self.maker.clone() })
    }

    /// Takes in what was made for a step. Gives the keys of the layers that are others now.
    ///
    /// A layer that could not be made stays as it was. It is made from nothing, at once or at the next step. One that was
    /// forgotten since it was begun is not taken in.
    pub fn commit(&mut self, step: &Step, mut done: Results) -> Vec<LayerKey> {
        if self.generation != step.generation || self.mesh.is_none() {
            self.generation = step.generation;
            self.mesh = Some(Arc::clone(&step.mesh));
            self.catch_ups.clear();
            let idle = self.broken.keys().filter(|key| !self.building.contains_key(*key));
            self.wanted.extend(idle.cloned());
        }
        let mut changed = Vec::new();
        done.retain(|key, _| self.is_used(key));
        for (key, outcome) in done {
            let failing = self.building.remove(&key).unwrap_or(Failing::BeginsAnew);
            match outcome {
                Ok(made) => changed.extend(self.put(key, made)),
                Err(why) => {
                    if failing == Failing::BeginsAnew {
                        self.wanted.insert(key.clone());
                    }
                    self.broken.insert(key, why);
                }
            }
        }
        changed
    }

    /// Whether the layer has come into use, and was not forgotten since.
    fn is_used(&self, key: &LayerKey) -> bool {
        self.made.contains_key(key) || self.building.contains_key(key) || self.wanted.contains(key)
    }

    /// Gives the key if the layer is another one now.
    fn put(&mut self, key: LayerKey, made: Made) -> Option<LayerKey> {
        self.broken.remove(&key);
        // It may have been forgotten and wanted again.
        self.wanted.remove(&key);
        match made.failures().is_some_and(|failures| !failures.is_empty()) {
            true => _ = self.failing.insert(key.clone()),
            false => _ = self.failing.remove(&key),
        }
        if let Some(below) = key.below() {
            self.above.entry(below).or_default().insert(key.clone());
        }
        let layer = Arc::clone(made.layer());
        let before = self.made.insert(key.clone(), made);
        before.is_none_or(|before| !Arc::ptr_eq(before.layer(), &layer)).then_some(key)
    }

    /// What is to be made beside the steps, of the mesh as it is. What is made from another layer comes after it.
    pub fn newcomers(&mut self, now: PublishedAt) -> Vec<Job> {
        let Some(mesh) = self.mesh.clone().filter(|_| !self.wanted.is_empty()) else { return Vec::new() };
        let step = self.step_since(self.generation, &mesh, now);
        let wanted = self.wanted.iter();
        let jobs: Vec<_> = wanted.filter_map(|key| self.job(key, None, &step, &Results::new())).collect();
        for job in &jobs {
            self.wanted.remove(&job.key);
            self.building.insert(job.key.clone(), Failing::Waits);
        }
        jobs
    }

    /// A layer was made beside the steps.
    pub fn arrived(&mut self, built: Built, now: PublishedAt) -> Arrived {
        let Built { key, step, from_nothing, outcome } = built;
        let Some(mesh) = self.mesh.clone().filter(|_| self.building.contains_key(&key)) else {
            return Arrived::Unused;
        };
        let is_behind = step.generation != self.generation;
        let rest = self.step_since(step.generation, &step.mesh, now);
        match outcome {
            Ok(made) if is_behind || !self.is_current(&key, &made, &Results::new()) => {
                match self.job(&key, Some(made), &rest, &Results::new()) {
                    Some(job) => Arrived::Behind(job),
                    None => Arrived::Unused,
                }
            }
            outcome => {
                // What could not be made of this mesh, even from nothing, waits for the next one.
                if outcome.is_err() && (is_behind || !from_nothing) {
                    self.building.insert(key.clone(), Failing::BeginsAnew);
                }
                let step = self.step_since(self.generation, &mesh, now);
                Arrived::Ready(step, Results::from([(key, outcome)]))
            }
        }
    }

    /// The step to the present mesh from that one.
    fn step_since(&mut self, generation: u64, before: &Arc<Mesh>, now: PublishedAt) -> Arc<Step> {
        if let Some(step) = self.catch_ups.get(&generation).and_then(Weak::upgrade) {
            return step;
        }
        let mesh = self.mesh.clone().unwrap_or_else(|| Arc::clone(before));
        let step = Arc::new(Step::new(Some(Arc::clone(before)), mesh, self.generation, now));
        self.catch_ups.insert(generation, Arc::downgrade(&step));
        step
    }

    /// What a scope sees; `None` = its layers are not made yet.
    pub fn view(&self, scope: &Scope) -> Option<View> {
        let layers = LayerKey::of(scope)
            .into_iter()
            .map(|key| self.made.get(&key).map(|made| Arc::clone(made.layer())));
        let mut layers: Vec<_> = layers.collect::<Option<_>>()?;
        let base = layers.pop()?;
        Some(View::new(layers, base))
    }

    /// What services claim against each other, as far as a scope's base has it.
    pub fn conflicts(&self, scope: &Scope) -> Arc<[Conflict]> {
        match self.made.get(&LayerKey::base_of(scope)) {
            Some(Made::Base(base)) => Arc::clone(base.conflicts()),
            _ => Arc::default(),
        }
    }

    /// The bases that are made, each with what is common to the scopes that share it. Costs as much as there are
    /// bases, however many layers there are.
    pub fn bases(&self) -> impl Iterator<Item = (Scope, &Base)> {
        // In the order of keys, those of endpoints and bases come first.
        let whole = self.made.iter().take_while(|(key, _)| key.is_whole());
        whole.filter_map(|(key, made)| match (key, made) {
            (LayerKey::Base(role, source), Made::Base(base)) => {
                Some((Scope::new(*role, source.clone()), &**base))
            }
            _ => None,
        })
    }

    /// The services whose translation failed in some layer, with the reason. Each keeps what it had before.
    pub fn failures(&self) -> BTreeMap<String, Arc<str>> {
        let failing = self.failing.iter().filter_map(|key| self.made.get(key)?.failures()).flatten();
        failing.map(|(host, failure)| (host.to_string(), Arc::clone(&failure.why))).collect()
    }

    /// The layers that could not be made, with the reason. Each is as it was before.
    pub fn broken(&self) -> &BTreeMap<LayerKey, Arc<str>> {
        &self.broken
    }

    /// Goes to a mesh, one job after the other.
    pub fn advance(&mut self, mesh: Arc<Mesh>, changed: PublishedAt) {
        let step = self.step(mesh, changed);
        self.take(&step, Results::new());
        loop {
            let newcomers = self.newcomers(changed);
            if newcomers.is_empty() {
                return;
            }
            for built in newcomers.into_iter().map(Job::build) {
                if let Arrived::Ready(step, done) = self.arrived(built, changed) {
                    self.take(&step, done);
                }
            }
        }
    }

    fn take(&mut self, step: &Arc<Step>, mut done: Results) {
        for wave in Wave::ALL {
            let jobs = self.jobs(step, wave, &done);
            done.extend(jobs.into_iter().map(Job::run));
        }
        self.commit(step, done);
    }
}

mod touched;

#[cfg(test)]
mod tests;
