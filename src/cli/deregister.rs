//! `pilot deregister`: takes an instance out of a registry.

use std::process::ExitCode;

use anyhow::{Context, bail};

use super::{Global, block_on, print};
use crate::{register, registries};

/// Take an instance of a service out of a registry
///
/// For what `pilot register --once` has written, and for what was left behind. An instance whose `pilot
/// register` still runs comes back: end that instead.
///
/// In Consul an instance belongs to the agent with which it was registered: only that one removes it.
///
/// pilot.toml says where the registry is. The exit code is 0 when the instance was removed, 1 when it was not
/// there or the registry did not answer within 10 seconds, 2 when the arguments or pilot.toml are wrong.
///
/// Example: pilot deregister --registry east --service payments --id box-payments-8080
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The registry's name in pilot.toml. May be left out where only one can be written to.
    #[arg(long, value_name = "NAME")]
    registry: Option<String>,
    /// The service, by the name under which it was registered: payments.mesh.
    #[arg(long, value_name = "SERVICE")]
    service: String,
    /// The instance's id, which `pilot register` has said.
    #[arg(long, value_name = "ID")]
    id: String,
}

impl Args {
    /// Removes the instance.
    ///
    /// # Errors
    /// There is no such registry, it does not answer, or it does not have the instance.
    pub fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { registry, service, id } = self;
        let to = registries::registrar(&global.load_to_write()?, registry.as_deref())?;
        let removed = block_on(async {
            let removed = register::remove(&*to.registrar, &service, &id).await;
            removed.with_context(|| format!("registry {}: {id} of {service} is not removed", to.name))
        })?;
        if !removed {
            bail!("registry {}: {service} has no instance {id}", to.name);
        }
        print(&format!("removed {id} of {service} from {}", to.name))
    }
}
