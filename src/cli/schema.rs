//! `pilot schema`: JSON schemas of pilot.toml and of services files, for editors.

use std::process::ExitCode;

use clap::ValueEnum;

use crate::config;

/// Print the JSON schema of pilot.toml, or of what registries hold
///
/// Editors complete and check files with it. It is a JSON schema of the draft 2020-12.
///
/// Example: pilot schema services > services.schema.json
///
/// Then write as the first line of services.toml: #:schema ./services.schema.json
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to describe.
    #[arg(value_enum, default_value = "config")]
    of: Subject,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Subject {
    /// pilot.toml
    Config,
    /// The files of a file registry
    #[cfg(feature = "file")]
    Services,
    /// The value of a key <prefix>/v1/services/<host> in an etcd
    #[cfg(feature = "etcd")]
    EtcdService,
    /// The value of a key <prefix>/v1/instances/<host>/<id> in an etcd
    #[cfg(feature = "etcd")]
    EtcdInstance,
}

impl Args {
    /// Prints the schema.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Self { of } = self;
        let schema = match of {
            Subject::Config => config::schema(),
            #[cfg(feature = "file")]
            Subject::Services => crate::registries::services_schema(),
            #[cfg(feature = "etcd")]
            Subject::EtcdService => crate::registries::etcd_service_schema(),
            #[cfg(feature = "etcd")]
            Subject::EtcdInstance => crate::registries::etcd_instance_schema(),
        };
        super::print(&serde_json::to_string_pretty(&schema)?)
    }
}
