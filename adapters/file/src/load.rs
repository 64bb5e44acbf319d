//! Reads the files once, to check them without serving.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use pilot_registry::{Service, ServiceId, Texts};
use tokio::time::Instant;

use crate::last_good::LastGood;
use crate::texts::LastTexts;
use crate::{Config, Problem, RulesConfig};

/// What the files say now.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The services that make sense, ordered by id.
    pub services: Vec<Arc<Service>>,
    /// Everything that is wrong with the files, in their order.
    pub problems: Vec<Problem>,
    /// Where each of the services is written: its file, and the line and the column of its host, from 1.
    pub places: BTreeMap<ServiceId, (PathBuf, usize, usize)>,
}

/// Reads the rule documents of the file or folder once: the texts, and everything that keeps files from being read.
pub fn load_rules(config: &RulesConfig) -> (Texts, Vec<Problem>) {
    let view = LastTexts::default().look(config);
    (view.value, view.troubles.into_iter().map(|trouble| trouble.problem).collect())
}

/// Reads the file or folder once.
pub fn load(config: &Config) -> Loaded {
    let mut last_good = LastGood::default();
    let view = last_good.look(config, Instant::now());
    let mut problems: Vec<_> = view.troubles.into_iter().map(|trouble| trouble.problem).collect();
    for (file, rejected) in &view.rejected {
        problems.extend(rejected.problems(file));
    }
    problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    let places = last_good.places().map(|(id, path, at)| (id.clone(), (path.clone(), at.line, at.column)));
    // The first in the order of files is in force.
    let places = places.collect::<Vec<_>>().into_iter().rev().collect();
    Loaded { services: view.value.services().to_vec(), problems, places }
}
