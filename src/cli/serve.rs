//! `pilot serve`: the server itself.

use std::process::ExitCode;

use crate::catalog::state::prepare;
use crate::config::{Problems, UsedVariable};
use crate::registries::{self, ConfiguredRegistry};
use crate::shutdown::{self, Trigger};
use crate::{Listeners, config::Config};

use super::{Global, block_on, init_logging};

/// Serves what pilot.toml names (the default when no command is given)
///
/// Follows every registry and tells every connected proxy what changes, until SIGINT or SIGTERM: then
/// streams end one after the other, and a second signal ends it at once.
///
/// Example: pilot serve --config pilot.toml
#[derive(Debug, Default, clap::Args)]
pub struct Args {}

impl Args {
    /// Serves until a signal comes.
    ///
    /// # Errors
    /// The configuration is refused, or a port is taken.
    pub fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let loaded = global.load()?;
        init_logging(&loaded.config.log)?;
        for UsedVariable { variable, key, value } in &loaded.used {
            tracing::info!(variable, key, value, "a variable of another tool is used");
        }
        let registries = registries::build(&loaded)?;
        if let Some(dir) = &loaded.config.state.dir {
            prepare(dir).map_err(|error| {
                let why = format!(
                    "{} cannot be written in ({error}): expected a folder of pilot's own",
                    dir.display()
                );
                Problems::from(loaded.origins.problem("state.dir", why))
            })?;
        }
        block_on(serve(&loaded.config, registries))
    }
}

async fn serve(config: &Config, registries: Vec<ConfiguredRegistry>) -> anyhow::Result<ExitCode> {
    let listeners = Listeners::bind(config).await?;
    tracing::info!(xds = %config.xds.listen, admin = %config.admin.listen, "serving");
    let (trigger, shutdown) = shutdown::shutdown();
    tokio::select! {
        ended = crate::run(config, registries, listeners, shutdown) => ended?,
        ended = signals(&trigger) => return ended,
    }
    tracing::info!("ended");
    Ok(ExitCode::SUCCESS)
}

/// The first signal begins the end; the second is one.
async fn signals(trigger: &Trigger) -> anyhow::Result<ExitCode> {
    shutdown::signal().await?;
    tracing::info!("ending: streams end one after the other; another signal ends all at once");
    trigger.begin();
    shutdown::signal().await?;
    tracing::warn!("ended at once");
    Ok(ExitCode::FAILURE)
}
