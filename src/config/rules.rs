//! One store of rules of pilot.toml: `[rules.<name>]` and the one table that says its kind.

use std::path::{Path, PathBuf};

use pilot_registry::Namespace;
use schemars::JsonSchema;
use serde::Deserialize;

/// `[rules.<name>]`. Exactly one of the kinds is given; the loader has checked it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RulesEntry {
    /// 0 is preferred: of a document that several stores have, the preferred store's counts, and of documents that
    /// contradict each other, too.
    #[schemars(range(min = 0, max = 127))]
    pub priority: u32,
    /// The namespaces of the documents that it may have. None = any.
    #[schemars(with = "Vec<String>")]
    pub namespaces: Vec<Namespace>,
    /// Documents from YAML and JSON files.
    #[cfg(feature = "file")]
    pub file: Option<pilot_registry_file::RulesConfig>,
    /// Documents in Consul's keys: each key below <prefix>/rules/ holds one or several.
    #[cfg(feature = "consul")]
    pub consul: Option<pilot_registry_consul::RulesConfig>,
    /// Documents in an etcd: each key below <prefix>/rules/ holds one or several.
    #[cfg(feature = "etcd")]
    pub etcd: Option<pilot_registry_etcd::Config>,
    /// Documents in a Kubernetes cluster: Istio's custom resources.
    #[cfg(feature = "kubernetes")]
    pub kubernetes: Option<pilot_registry_kubernetes::RulesConfig>,
}

/// The kind of a store, with its own configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum RulesKind<'a> {
    /// `[rules.<name>.file]`
    #[cfg(feature = "file")]
    File(&'a pilot_registry_file::RulesConfig),
    /// `[rules.<name>.consul]`
    #[cfg(feature = "consul")]
    Consul(&'a pilot_registry_consul::RulesConfig),
    /// `[rules.<name>.etcd]`
    #[cfg(feature = "etcd")]
    Etcd(&'a pilot_registry_etcd::Config),
    /// `[rules.<name>.kubernetes]`
    #[cfg(feature = "kubernetes")]
    Kubernetes(&'a pilot_registry_kubernetes::RulesConfig),
    #[doc(hidden)]
    #[cfg(not(any(feature = "consul", feature = "etcd", feature = "file", feature = "kubernetes")))]
    Never(std::convert::Infallible, std::marker::PhantomData<&'a ()>),
}

impl RulesKind<'_> {
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
}

impl RulesKind<'_> {
    /// The files with credentials and certificates that it names, by their keys in the kind's table: `tls.ca`.
    pub fn files(&self) -> Vec<(&'static str, PathBuf)> {
        match self {
            #[cfg(feature = "file")]
            Self::File(_) => Vec::new(),
            #[cfg(feature = "consul")]
            Self::Consul(config) => {
                (*config).clone().paths_mut().map(|(key, path)| (key, path.clone())).collect()
            }
            #[cfg(feature = "etcd")]
            Self::Etcd(config) => {
                (*config).clone().paths_mut().map(|(key, path)| (key, path.clone())).collect()
            }
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(config) => {
                (*config).clone().paths_mut().map(|(key, path)| (key, path.clone())).collect()
            }
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
                let named = config.files_of_kubeconfig().into_iter();
                named.map(|(place, path)| ("kubeconfig", place, path)).collect()
            }
            #[cfg(any(feature = "consul", feature = "etcd", feature = "file"))]
            _ => Vec::new(),
            #[cfg(not(any(feature = "consul", feature = "etcd", feature = "file", feature = "kubernetes")))]
            Self::Never(never, _) => match *never {},
        }
    }

    /// The environment variables without which it cannot be followed, by the keys that name them.
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

impl RulesEntry {
    /// The environment variables that hold secrets of this store.
    pub fn secret_variables(&self) -> Vec<&str> {
        let variables: &[Option<&str>] = &[
            #[cfg(feature = "consul")]
            self.consul.as_ref().and_then(|consul| consul.token_env.as_deref()),
            #[cfg(feature = "etcd")]
            self.etcd.as_ref().and_then(|etcd| etcd.password_env.as_deref()),
        ];
        variables.iter().flatten().copied().collect()
    }

    /// A store of the documents in a file or a folder; without the feature `file`, of no kind.
    #[cfg_attr(not(feature = "file"), allow(unused_variables, reason = "no kind has a path"))]
    pub fn of_files(path: PathBuf) -> Self {
        Self {
            #[cfg(feature = "file")]
            file: Some(pilot_registry_file::RulesConfig::new(path)),
            ..Self::default()
        }
    }

    /// The kinds that are given. In a loaded configuration it is exactly one.
    pub fn kinds(&self) -> Vec<RulesKind<'_>> {
        let kinds: &[Option<RulesKind<'_>>] = &[
            #[cfg(feature = "file")]
            self.file.as_ref().map(RulesKind::File),
            #[cfg(feature = "consul")]
            self.consul.as_ref().map(RulesKind::Consul),
            #[cfg(feature = "etcd")]
            self.etcd.as_ref().map(RulesKind::Etcd),
            #[cfg(feature = "kubernetes")]
            self.kubernetes.as_ref().map(RulesKind::Kubernetes),
        ];
        kinds.iter().flatten().cloned().collect()
    }

    /// Makes paths that came from a file relative to that file's folder. `from_file` tells for a key of this entry
    /// (`file.path`) whether it did.
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
        for (key, path) in self.consul.iter_mut().flat_map(pilot_registry_consul::RulesConfig::paths_mut) {
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
        for (key, path) in
            self.kubernetes.iter_mut().flat_map(pilot_registry_kubernetes::RulesConfig::paths_mut)
        {
            if from_file(&format!("kubernetes.{key}")) {
                *path = folder.join(&*path);
            }
        }
    }
}
