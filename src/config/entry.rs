//! One registry of pilot.toml: `[registry.<name>]` and the one table that says its kind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pilot_registry::usual::UsualVariables;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[registry.<name>]`. Exactly one of the kinds is given; the loader has checked it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RegistryEntry {
    /// 0 is preferred: endpoints of priority 1 take over when those of priority 0 are unhealthy.
    #[schemars(range(min = 0, max = 127))]
    pub priority: u32,
    /// Whether others are served without this one when it does not answer at the start.
    pub optional: bool,
    /// How long an optional one is waited for.
    pub patience: Patience,
    /// Services from TOML, YAML or JSON files.
    #[cfg(feature = "file")]
    pub file: Option<pilot_registry_file::Config>,
    /// Services that a Consul cluster knows.
    #[cfg(feature = "consul")]
    pub consul: Option<pilot_registry_consul::Config>,
    /// Services that are registered in an etcd.
    #[cfg(feature = "etcd")]
    pub etcd: Option<pilot_registry_etcd::Config>,
    /// The services of a Kubernetes cluster.
    #[cfg(feature = "kubernetes")]
    pub kubernetes: Option<pilot_registry_kubernetes::Config>,
}

/// How long an optional registry is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Patience(
    #[serde(with = "super::duration")]
    #[schemars(with = "String")]
    Duration,
);

impl Default for Patience {
    fn default() -> Self {
        Self(Duration::from_secs(10))
    }
}

impl From<Patience> for Duration {
    fn from(Patience(patience): Patience) -> Self {
        patience
    }
}

/// The kind of a registry, with its own configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum RegistryKind<'a> {
    /// `[registry.<name>.file]`
    #[cfg(feature = "file")]
    File(&'a pilot_registry_file::Config),
    /// `[registry.<name>.consul]`
    #[cfg(feature = "consul")]
    Consul(&'a pilot_registry_consul::Config),
    /// `[registry.<name>.etcd]`
    #[cfg(feature = "etcd")]
    Etcd(&'a pilot_registry_etcd::Config),
    /// `[registry.<name>.kubernetes]`
    #[cfg(feature = "kubernetes")]
    Kubernetes(&'a pilot_registry_kubernetes::Config),
    #[doc(hidden)]
    #[cfg(not(any(feature = "consul", feature = "etcd", feature = "file", feature = "kubernetes")))]
    Never(std::convert::Infallible, std::marker::PhantomData<&'a ()>),
}

/// The variables of the platforms' own tools, by section of pilot.toml and kind.
pub(super) fn usual_variables() -> Vec<(Section, &'static str, UsualVariables)> {
    vec![
        #[cfg(feature = "consul")]
        (Section::REGISTRIES, "consul", pilot_registry_consul::USUAL_VARIABLES),
        #[cfg(feature = "etcd")]
        (Section::REGISTRIES, "etcd", pilot_registry_etcd::USUAL_VARIABLES),
        #[cfg(feature = "kubernetes")]
        (Section::REGISTRIES, "kubernetes", pilot_registry_kubernetes::USUAL_VARIABLES),
        #[cfg(feature = "consul")]
        (Section::RULES, "consul", pilot_registry_consul::RULES_USUAL_VARIABLES),
        #[cfg(feature = "etcd")]
        (Section::RULES, "etcd", pilot_registry_etcd::USUAL_VARIABLES),
        #[cfg(feature = "kubernetes")]
        (Section::RULES, "kubernetes", pilot_registry_kubernetes::USUAL_VARIABLES),
    ]
}

/// A table of pilot.toml whose entries have a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// Its key.
    pub(super) key: &'static str,
    /// What its entries are.
    pub(super) entries: &'static str,
}

impl Section {
    /// Where services come from.
    pub(super) const REGISTRIES: Self = Self { key: "registry", entries: "registries" };
    /// Where rules come from.
    pub(super) const RULES: Self = Self { key: "rules", entries: "stores of rules" };
}

impl RegistryKind<'_> {
    /// The kind's table in pilot.toml.
    pub fn as_str(&self) -> &'static str {
        match self {
            #[cfg(feature = "file")]
            Self::File(_) => "file",
            #[cfg(feature = "consul")]
            Self::Consul(_) => "consul",
            #[cfg(feature = "etcd")]
            Self::Etcd(_) => "etcd",
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(_) => "kubernetes",
            #[cfg(not(any(feature = "consul", feature = "etcd", feature = "file", feature = "kubernetes")))]
            Self::Never(never, _) => match *never {},
        }
    }

    /// The files with credentials and certificates that it names, by their keys in the kind's table: `tls.ca`.
    pub fn files(&self) -> Vec<(&'static str, PathBuf)> {
        #[cfg(any(feature = "consul", feature = "etcd", feature = "kubernetes"))]
        fn owned<'a>(
            paths: impl Iterator<Item = (&'static str, &'a mut PathBuf)>,
        ) -> Vec<(&'static str, PathBuf)> {
            paths.map(|(key, path)| (key, path.clone())).collect()
        }
        match self {
            #[cfg(feature = "file")]
            Self::File(_) => Vec::new(),
            #[cfg(feature = "consul")]
            Self::Consul(config) => owned((*config).clone().paths_mut()),
            #[cfg(feature = "etcd")]
            Self::Etcd(config) => owned((*config).clone().paths_mut()),
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(config) => owned((*config).clone().paths_mut()),
            #[cfg(not(any(feature = "consul", feature = "etcd", feature = "file", feature = "kubernetes")))]
            Self::Never(never, _) => match *never {},
        }
    }

    /// The files that a file of [`files`](Self::files) names, each with that file's key and its place in the file. Reads
    /// that file.
    pub fn files_of_files(&self) -> Vec<(&'static str, String, PathBuf)> {
        match self {
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(config) => {
                let named = pilot_registry_kubernetes::files_of_kubeconfig(config).into_iter();
                named.map(|(place, path)| ("kubeconfig", place, path)).collect()
            }
            #[cfg(any(feature = "consul", feature = "etcd", feature = "file"))]
            _ => Vec::new(),
            #[cfg(not(any(feature = "consul", feature = "etcd", feature = "file", feature = "kubernetes")))]
            Self::Never(never, _) => match *never {},
        }
    }

    /// The environment variables without which it cannot be followed, by the keys of the kind's table that name
    /// them, or that are missing.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        match self {
            #[cfg(feature = "file")]
            Self::File(_) => Vec::new(),
            #[cfg(feature = "consul")]
            Self::Consul(config) => config.token_env.iter().map(|name| ("token_env", name.clone())).collect(),
            #[cfg(feature = "etcd")]
            Self::Etcd(config) => {
                config.password_env.iter().map(|name| ("password_env", name.clone())).collect()
            }
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(config) if config.kubeconfig.is_none() => {
                vec![("kubeconfig", "KUBERNETES_SERVICE_HOST".to_owned())]
            }
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(_) => Vec::new(),
            #[cfg(not(any(feature = "consul", feature = "etcd", feature = "file", feature = "kubernetes")))]
            Self::Never(never, _) => match *never {},
        }
    }
}

impl RegistryEntry {
    /// The kinds that are given. In a loaded configuration it is exactly one.
    pub fn kinds(&self) -> Vec<RegistryKind<'_>> {
        let kinds: &[Option<RegistryKind<'_>>] = &[
            #[cfg(feature = "file")]
            self.file.as_ref().map(RegistryKind::File),
            #[cfg(feature = "consul")]
            self.consul.as_ref().map(RegistryKind::Consul),
            #[cfg(feature = "etcd")]
            self.etcd.as_ref().map(RegistryKind::Etcd),
            #[cfg(feature = "kubernetes")]
            self.kubernetes.as_ref().map(RegistryKind::Kubernetes),
        ];
        kinds.iter().flatten().cloned().collect()
    }

    /// The environment variables that hold secrets of this registry.
    pub fn secret_variables(&self) -> Vec<&str> {
        let variables: &[Option<&str>] = &[
            #[cfg(feature = "consul")]
            self.consul.as_ref().and_then(|consul| consul.token_env.as_deref()),
            #[cfg(feature = "etcd")]
            self.etcd.as_ref().and_then(|etcd| etcd.password_env.as_deref()),
        ];
        variables.iter().flatten().copied().collect()
    }

    /// Makes paths that came from a file relative to that file's folder. `from_file` tells for a key of
    /// this entry (`file.path`) whether it did.
    #[cfg_attr(
        not(any(feature = "consul", feature = "etcd", feature = "file", feature = "kubernetes")),
        allow(unused_variables, reason = "no kind has a path")
    )]
    pub(super) fn resolve(&mut self, folder: &Path, from_file: impl Fn(&str) -> bool) {
        #[cfg(feature = "file")]
        if let Some(file) = &mut self.file
            && from_file("file.path")
            // Joined, an empty path would be the folder itself.
            && !file.path.as_os_str().is_empty()
        {
            file.path = folder.join(&file.path);
        }
        #[cfg(feature = "consul")]
        for (key, path) in self.consul.iter_mut().flat_map(pilot_registry_consul::Config::paths_mut) {
            if from_file(&format!("consul.{key}")) {
                *path = folder.join(&*path);
            }
        }
        #[cfg(feature = "etcd")]
        for (key, path) in self.etcd.iter_mut().flat_map(pilot_registry_etcd::Config::paths_mut) {
            if from_file(&format!("etcd.{key}")) {
                *path = folder.join(&*path);
            }
        }
        #[cfg(feature = "kubernetes")]
        for (key, path) in self.kubernetes.iter_mut().flat_map(pilot_registry_kubernetes::Config::paths_mut) {
            if from_file(&format!("kubernetes.{key}")) {
                *path = folder.join(&*path);
            }
        }
    }
}
