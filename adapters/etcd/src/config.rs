//! The table `etcd` of a registry in pilot.toml.

mod check;
mod usual;

use std::path::PathBuf;
use std::time::Duration;

use pilot_registry::Secret;
use schemars::JsonSchema;
use serde::Deserialize;

pub use usual::USUAL_VARIABLES;

/// An etcd, with services or with documents of rules.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// URLs of etcd's members, like "http://127.0.0.1:2379". One is used at a time; the next one takes over
    /// when it fails.
    #[schemars(length(min = 1))]
    pub endpoints: Vec<String>,
    /// What the keys begin with: services are below <prefix>/v1/, and documents of rules below <prefix>/rules/.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// The name of the user that pilot is for etcd. Without one, etcd is asked for nothing but the certificate.
    pub user: Option<String>,
    /// The user's password. Better out of the file: password_file or password_env.
    #[schemars(with = "Option<String>")]
    pub password: Option<Secret>,
    /// The file that holds the password. It is read at each connection.
    pub password_file: Option<PathBuf>,
    /// The environment variable that holds the password.
    pub password_env: Option<String>,
    /// How endpoints that begin with https:// are reached.
    pub tls: Option<Tls>,
    /// How long connecting, and each answer, may take.
    #[serde(default = "default_timeout", with = "pilot_registry::duration")]
    #[schemars(with = "String")]
    pub timeout: Duration,
    /// How often etcd is asked whether the watch is alive. One that does not answer three times is not.
    #[serde(default = "default_progress_interval", with = "pilot_registry::duration")]
    #[schemars(with = "String")]
    pub progress_interval: Duration,
    /// How many keys are read at a time.
    #[serde(default = "default_page_size")]
    #[schemars(range(min = 1, max = 100_000))]
    pub page_size: u32,
    /// The most keys that may be there. More are refused as a whole.
    #[serde(default = "default_max_keys")]
    #[schemars(range(min = 1))]
    pub max_keys: usize,
    /// The most bytes that all keys and values may have. More are refused as a whole.
    #[serde(default = "default_max_bytes")]
    #[schemars(range(min = 1))]
    pub max_bytes: usize,
}

/// How endpoints that begin with https:// are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The PEM file of the authorities that may have signed etcd's certificate.
    pub ca: PathBuf,
    /// The PEM file of pilot's own certificate, where etcd wants one.
    pub cert: Option<PathBuf>,
    /// The PEM file of the certificate's private key.
    pub key: Option<PathBuf>,
    /// The name that etcd's certificate has to be for. By default the host in the endpoint.
    pub server_name: Option<String>,
}

impl Config {
    /// These endpoints, with the defaults for all else.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            prefix: default_prefix(),
            user: None,
            password: None,
            password_file: None,
            password_env: None,
            tls: None,
            timeout: default_timeout(),
            progress_interval: default_progress_interval(),
            page_size: default_page_size(),
            max_keys: default_max_keys(),
            max_bytes: default_max_bytes(),
        }
    }

    /// The files that it names, with their keys, to make relative paths absolute.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut PathBuf)> {
        let tls = self.tls.iter_mut().flat_map(|tls| {
            let ca = (!tls.ca.as_os_str().is_empty()).then_some(("tls.ca", &mut tls.ca));
            let own = [("tls.cert", tls.cert.as_mut()), ("tls.key", tls.key.as_mut())];
            ca.into_iter().chain(own.into_iter().filter_map(|(key, path)| Some((key, path?))))
        });
        self.password_file.as_mut().map(|path| ("password_file", path)).into_iter().chain(tls)
    }
}

fn default_prefix() -> String {
    "/pilot".to_owned()
}

fn default_timeout() -> Duration {
    Duration::from_secs(3)
}

fn default_progress_interval() -> Duration {
    Duration::from_secs(1)
}

fn default_page_size() -> u32 {
    1000
}

fn default_max_keys() -> usize {
    1_000_000
}

fn default_max_bytes() -> usize {
    512 << 20
}
