//! The tables `[state]` and `[guard]`.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Config, duration};
use crate::catalog::saved::SnapshotFile;
use crate::catalog::{GuardSettings, Policy, SavePolicy};
use crate::rules::SavedRules;
use crate::world::RulesPolicy;

/// `[state]`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct State {
    /// A folder in which the last known good of each registry is kept, and from which it is served when the
    /// registry does not answer at the start. It is made where there is none. Nothing is kept unless it is
    /// given.
    #[schemars(with = "Option<String>", extend("examples" = ["state"]))]
    pub dir: Option<PathBuf>,
    /// How long a registry has to answer at the start before its last known good is served. One that
    /// fails is not waited for.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub wait: Duration,
    /// A registry that changes is written no more often than this.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub save_interval: Duration,
    /// Size of the file of one registry, in bytes. A larger one is neither written nor read.
    #[schemars(range(min = 1024, max = 17_179_869_184_u64))]
    pub max_file_bytes: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            dir: None,
            wait: Duration::from_secs(2),
            save_interval: Duration::from_secs(10),
            max_file_bytes: 256 << 20,
        }
    }
}

/// `[guard]`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Guard {
    /// Whether endpoints are kept when most of them disappear at once, and keep their health when most of them turn
    /// unhealthy at once, until the registry confirms it.
    pub enabled: bool,
    /// Endpoints are kept when more than this share of them is gone, in percent, and at least `min_endpoints`: of the
    /// endpoints of a service that stays, or of several services together.
    #[schemars(range(min = 1, max = 99))]
    pub share_percent: usize,
    /// Fewer missing endpoints than this are never kept, unless the whole registry is suddenly empty.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min_endpoints: usize,
    /// How long they are kept at most. While the registry is in trouble, they are kept until it is in order again.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub hold: Duration,
}

impl Default for Guard {
    fn default() -> Self {
        let GuardSettings { share_percent, min_endpoints, hold } = GuardSettings::default();
        Self { enabled: true, share_percent, min_endpoints, hold }
    }
}

impl Config {
    /// How a store of rules of that name and kind is treated.
    pub fn rules_policy(&self, store: &str, kind: &'static str) -> RulesPolicy {
        let save = |dir: &PathBuf| SavedRules::new(dir, store, kind, self.state.max_file_bytes);
        RulesPolicy {
            hold: self.guard.enabled.then_some(self.guard.hold),
            wait: self.state.wait,
            save: self.state.dir.as_ref().map(save),
        }
    }

    /// How a registry of that name and kind is treated.
    pub fn policy(&self, registry: &str, kind: &'static str, patience: Option<Duration>) -> Policy {
        let Guard { enabled, share_percent, min_endpoints, hold } = self.guard;
        let State { dir, wait, save_interval, max_file_bytes } = &self.state;
        let save = |dir: &PathBuf| SavePolicy {
            file: SnapshotFile::new(dir, registry, kind, *max_file_bytes),
            wait: *wait,
            save_interval: *save_interval,
        };
        Policy {
            patience,
            guard: enabled.then_some(GuardSettings { share_percent, min_endpoints, hold }),
            save: dir.as_ref().map(save),
        }
    }
}
