//! `pilot serve`: the server itself.

mod reload;

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use tokio::task::JoinSet;

use crate::Listeners;
use crate::catalog::saved::{Unwritable, prepare, try_hold};
use crate::config::{Config, Loaded, Problems, UnusedVariable, UsedVariable};
use crate::registries::{self, Sources};
use crate::shutdown::{self, Signals, Trigger};
use reload::Reloading;

use super::check::open::{self, OPEN_PORT};
use super::{Global, block_on, init_logging};

/// Serves what pilot.toml names (the default when no command is given)
///
/// Follows every registry and tells every connected proxy what changes, until SIGINT or SIGTERM: then
/// streams end one after the other. A second signal ends it at once; one within half a second of the first is the first.
///
/// SIGHUP reloads what can be reloaded while it serves: the files of file registries and of rules are read again at once. The log
/// says what that is, and whether pilot.toml has changed since the start: that needs a restart.
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
        let (version, config) = (env!("CARGO_PKG_VERSION"), global.config.display());
        tracing::info!(version, %config, registries = loaded.config.registry.len(), "pilot starts");
        for UsedVariable { variable, key, value } in &loaded.used {
            tracing::info!(variable, key, value, "a variable of another tool is used");
        }
        for UnusedVariable { variable, why, is_read } in &loaded.unused {
            match is_read {
                true => tracing::info!(variable, why, "a variable of another tool does not count"),
                false => tracing::warn!(
                    variable,
                    why,
                    "a variable of another tool is set, and pilot does not read it"
                ),
            }
        }
        let sources = Sources { registries: registries::build(&loaded)?, rules: registries::rules(&loaded)? };
        if let Some(dir) = &loaded.config.state.dir {
            let refused = |why: Unwritable| loaded.origins.problem("state.dir", why.to_string());
            prepare(dir).map_err(|why| Problems::from(refused(why)))?;
        }
        let _held = loaded.config.state.dir.as_deref().and_then(hold);
        block_on(serve(global, loaded, sources))
    }
}

async fn serve(global: &Global, loaded: Loaded, sources: Sources) -> anyhow::Result<ExitCode> {
    let config = &loaded.config.clone();
    let reloading = Reloading::of(global.clone(), loaded, &sources)?;
    let listeners = Listeners::bind(config).await?;
    tracing::info!(xds = %config.xds.listen, admin = %config.admin.listen, "serving");
    warn_of_strangers(config);
    let (trigger, shutdown) = shutdown::shutdown();
    let mut beside = JoinSet::new();
    beside.spawn(shutdown::end_for_sure());
    tokio::select! {
        ended = crate::run(config, sources, listeners, shutdown) => ended?,
        ended = signals(&trigger) => return ended,
        never = reloading.follow() => match never {},
    }
    tracing::info!("ended");
    Ok(ExitCode::SUCCESS)
}

/// Holds the folder of the last known good for as long as what it gives lives. Another pilot that holds it is no
/// error: that is how one takes over from another.
fn hold(dir: &Path) -> Option<File> {
    match try_hold(dir) {
        Ok(Some(held)) => return Some(held),
        Ok(None) => tracing::warn!(
            dir = %dir.display(),
            "another pilot uses this folder ([state] dir): what it saves and what this one saves replace each \
             other. Give each its own"
        ),
        Err(error) => tracing::debug!(dir = %dir.display(), %error, "the folder cannot be locked"),
    }
    None
}

/// Both ports are for machines that are trusted.
fn warn_of_strangers(config: &Config) {
    for (key, address) in open::ports(config) {
        tracing::warn!(%address, "{key}: {OPEN_PORT}");
    }
}

/// The first signal begins the end; the second is one.
async fn signals(trigger: &Trigger) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    signals.next().await;
    tracing::info!("ending: streams end one after the other; another signal ends all at once");
    trigger.begin();
    signals.next().await;
    tracing::warn!("ended at once");
    Ok(ExitCode::FAILURE)
}
