//! The server's address and the credentials: from a kubeconfig, or from the pod's service account.

use std::path::PathBuf;

use kube::config::{
    Cluster, ExecInteractiveMode, InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError,
};
use pilot_registry::RegistryError;
use tokio::runtime::Handle;

use crate::Config;

/// Stands for the proxy of a cluster that has none, so that those of the environment are not looked up.
const NO_PROXY: &str = "http://none.invalid";

/// Reads it. To be called in a thread that may wait.
pub(super) fn access(config: &Config) -> Result<kube::Config, RegistryError> {
    let Some(path) = &config.kubeconfig else {
        return kube::Config::incluster().map_err(|error| {
            let message = "no service account: pilot is not in a cluster, and no kubeconfig is given";
            match error {
                InClusterError::ReadEnvironmentVariable(_) => RegistryError::unavailable(format!(
                    "{message} (there are no variables KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT)"
                )),
                error => RegistryError::unavailable(message).caused_by(error),
            }
        });
    };
    let context = Some(config.context.clone()).filter(|context| !context.is_empty());
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    let mut kubeconfig = Kubeconfig::read_from(path).map_err(|error| unreadable(&error))?;
    refuse_proxies(&mut kubeconfig, &options)?;
    keep_plugins_silent(&mut kubeconfig);
    // It is asynchronous in name only.
    let access = kube::Config::from_custom_kubeconfig(kubeconfig, &options);
    let mut access = Handle::current().block_on(access).map_err(|error| unreadable(&error))?;
    access.proxy_url = None;
    Ok(access)
}

/// The files that the kubeconfig names for the context that is meant, with their places in it: `users[admin].tokenFile`.
/// None where there is no kubeconfig, or none that can be read. Reads the kubeconfig and nothing else.
pub fn files_of_kubeconfig(config: &Config) -> Vec<(String, PathBuf)> {
    let Some(path) = &config.kubeconfig else { return Vec::new() };
    // Relative paths are made absolute: they begin at the kubeconfig's folder.
    let Ok(kubeconfig) = Kubeconfig::read_from(path) else { return Vec::new() };
    let meant = Some(&config.context).filter(|context| !context.is_empty());
    let meant = meant.or(kubeconfig.current_context.as_ref());
    let context = kubeconfig.contexts.iter().find(|named| Some(&named.name) == meant);
    let Some(context) = context.and_then(|named| named.context.as_ref()) else { return Vec::new() };
    let cluster = kubeconfig.clusters.iter().find(|named| named.name == context.cluster);
    let cluster = cluster.and_then(|named| named.cluster.as_ref());
    let user = kubeconfig.auth_infos.iter().find(|named| Some(&named.name) == context.user.as_ref());
    let user = user.and_then(|named| named.auth_info.as_ref());
    let place = |list: &str, name: &str, key: &str| format!("{list}[{name}].{key}");
    let of_user = |key: &str, path: Option<&String>| {
        let name = context.user.as_deref().unwrap_or_default();
        path.map(|path| (place("users", name, key), PathBuf::from(path)))
    };
    let authority = cluster.and_then(|it| it.certificate_authority.as_ref());
    let authority =
        authority.map(|path| (place("clusters", &context.cluster, "certificate-authority"), path.into()));
    let named = [
        authority,
        of_user("client-certificate", user.and_then(|it| it.client_certificate.as_ref())),
        of_user("client-key", user.and_then(|it| it.client_key.as_ref())),
        of_user("tokenFile", user.and_then(|it| it.token_file.as_ref())),
    ];
    named.into_iter().flatten().collect()
}

/// The proxy's URL may hold a password: it is not told.
fn refuse_proxies(kubeconfig: &mut Kubeconfig, options: &KubeConfigOptions) -> Result<(), RegistryError> {
    let Some(cluster) = cluster_of(kubeconfig, options) else { return Ok(()) };
    match cluster.proxy_url.replace(NO_PROXY.to_owned()) {
        Some(url) if !url.is_empty() => Err(RegistryError::malformed(
            "the kubeconfig cannot be used: its cluster has a proxy-url, and proxies are not supported",
        )),
        _ => Ok(()),
    }
}

/// The cluster of the context that is meant, if there is one. That there is none is found by who reads it.
fn cluster_of<'a>(kubeconfig: &'a mut Kubeconfig, options: &KubeConfigOptions) -> Option<&'a mut Cluster> {
    let context = options.context.as_ref().or(kubeconfig.current_context.as_ref())?;
    let context = kubeconfig.contexts.iter().find(|named| named.name == *context)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter_mut().find(|named| named.name == context.cluster)?;
    cluster.cluster.as_mut()
}

/// Plugins neither read what pilot is given, nor write into its log.
fn keep_plugins_silent(kubeconfig: &mut Kubeconfig) {
    let users = kubeconfig.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut());
    for exec in users.filter_map(|user| user.exec.as_mut()) {
        exec.interactive_mode = Some(ExecInteractiveMode::Never);
    }
}

/// The parser's own words quote the file, and with it credentials.
fn unreadable(error: &KubeconfigError) -> RegistryError {
    match error {
        KubeconfigError::Parse(error) => {
            let at = error.location().map(|at| format!(", line {}, column {}", at.line(), at.column()));
            let at = at.unwrap_or_default();
            RegistryError::malformed(format!("the kubeconfig cannot be parsed{at}: expected YAML"))
        }
        KubeconfigError::ReadConfig(..) => RegistryError::unavailable(error.to_string()),
        _ => RegistryError::malformed(format!("the kubeconfig cannot be used: {error}")),
    }
}
