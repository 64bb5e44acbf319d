//! Reads the files once, to check them without serving.

use std::sync::Arc;

use pilot_registry::Service;

use crate::last_good::LastGood;
use crate::{Config, Problem};

/// What the files say now.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The services that make sense, ordered by host.
    pub services: Vec<Arc<Service>>,
    /// Everything that is wrong with the files, in their order.
    pub problems: Vec<Problem>,
}

/// Reads the file or folder once.
pub fn load(config: &Config) -> Loaded {
    let view = LastGood::default().look(config);
    let mut problems: Vec<_> = view.troubles.into_iter().map(|trouble| trouble.problem).collect();
    for (file, rejected) in &view.rejected {
        problems.extend(rejected.problems(file));
    }
    problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    Loaded { services: view.snapshot.services().to_vec(), problems }
}
