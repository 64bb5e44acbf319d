//! Certificates, made by Consul's own tool.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

/// The files of an authority, of a server and of a client, as PEM.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// The client's certificate.
    pub cert: PathBuf,
    /// The client's key.
    pub key: PathBuf,
    pub(super) server_cert: PathBuf,
    pub(super) server_key: PathBuf,
}

impl Certificates {
    pub(super) fn make(consul: &Path, folder: &Path, datacenter: &str) -> Result<Self> {
        let commands: [&[&str]; 3] = [
            &["tls", "ca", "create"],
            &["tls", "cert", "create", "-server", "-dc", datacenter],
            &["tls", "cert", "create", "-client", "-dc", datacenter],
        ];
        for arguments in commands {
            let output = Command::new(consul).args(arguments).current_dir(folder).output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "consul {arguments:?}: {said}");
        }
        let at = |name: &str| folder.join(name);
        Ok(Self {
            ca: at("consul-agent-ca.pem"),
            cert: at(&format!("{datacenter}-client-consul-0.pem")),
            key: at(&format!("{datacenter}-client-consul-0-key.pem")),
            server_cert: at(&format!("{datacenter}-server-consul-0.pem")),
            server_key: at(&format!("{datacenter}-server-consul-0-key.pem")),
        })
    }
}
