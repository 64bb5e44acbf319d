//! `pilot register`: puts an instance of a service into a registry, for as long as it lives.

mod checks;
mod foreground;
mod instance;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use pilot_registry::{Protocol, RegisteredPort, Registration};

use super::{Global, block_on, init_logging, print};
use crate::config::{Loaded, Problem, Problems, RegistryEntry, RulesEntry};
use crate::register::{self, Plan};
use crate::registries::{self, ConfiguredRegistrar};

/// Register an instance of a service, and keep it registered while it lives
///
/// For machines without an orchestrator. Runs in the foreground: writes the instance into a registry (Consul or
/// etcd), keeps it alive there, and follows its health check: what fails is marked as unhealthy, not removed.
/// When the registry restarts, the instance is written again.
///
/// With a check or a command, the instance is registered when its port takes connections (--port-wait), so that the
/// program has its port before an Envoy on the same machine can take it.
///
/// SIGTERM or SIGINT ends it in order: the instance is marked as draining, --drain-time passes in which proxies
/// stop sending to it, and it is removed. A second signal ends at once; one within half a second of the first is the first. SIGHUP is ignored, and the command does
/// not get it: the instance stays registered when its terminal goes away.
/// Without an orderly end (kill -9, power failure) the registry gives the instance up after --ttl: etcd removes
/// it; in Consul it is critical, and so out of traffic, and removed at least 60 seconds later, which is Consul's
/// minimum.
///
/// With a command after --, that is started, registered while it runs, and removed at once when it ends. A
/// signal reaches it only after the instance has drained and is removed. It has a process group of its own and
/// cannot read from the terminal. When pilot is killed (kill -9), the command gets SIGTERM, and SIGKILL ten
/// seconds later.
///
/// An id is one instance: on etcd, of two that run with the same id the one that was started last is
/// registered, and the other waits until that one is gone.
///
/// The command, and one of --check exec:, get the environment without pilot's own secrets: the variables that
/// token_env and password_env name, and PILOT_REGISTRY_...
///
/// With --once the instance is written and stays until `pilot deregister`, whatever becomes of it.
///
/// pilot.toml says where the registry is: a table [registry.NAME] of kind consul or etcd is enough. Files
/// cannot be registered in.
///
/// The exit code is that of the command (128 and the signal's number where one has killed it, 127 where there
/// is none, 126 where it does not start). Without a command it is 0 after an orderly end, 1 when the registry
/// did not answer at the end or a second signal came, 2 when the arguments or pilot.toml are wrong.
///
/// Example, in Consul: pilot register --registry east --service payments --port 8080/http --check http://127.0.0.1:8080/healthz
///
/// In etcd: pilot register --registry west --service payments.mesh --port 8080/http --check http://127.0.0.1:8080/healthz
///
/// Around a command: pilot register --service payments --port 8080 --check tcp -- ./payments --listen 0.0.0.0:8080
///
/// Once: pilot register --service db --port 5432/tcp --address 10.0.0.9 --once
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The registry's name in pilot.toml. May be left out where only one can be written to.
    #[arg(long, value_name = "NAME")]
    registry: Option<String>,
    #[command(flatten)]
    instance: instance::Instance,
    #[command(flatten)]
    checks: checks::Checks,
    /// After how long without a sign of life the registry gives the instance up: 1s to 1h. etcd removes it then.
    /// In Consul it is critical then and gets no traffic; Consul removes it at least 60 seconds later.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = ttl)]
    ttl: Duration,
    /// How long the instance still serves after the registry knows that it drains. 0s removes it at once.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = crate::config::parse_duration)]
    drain_time: Duration,
    /// With --check or a command: how long the instance stays out of the registry while nothing listens on its first
    /// port. Then it is registered all the same. 0s registers it at once. A proxy on this machine may take the port as
    /// soon as the instance is registered. Ports of udp, and addresses of other machines, are not waited for.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = crate::config::parse_duration)]
    port_wait: Duration,
    /// Write the instance and end. It stays until `pilot deregister`.
    #[arg(long, conflicts_with_all = ["check", "ttl", "drain_time", "port_wait", "command"])]
    once: bool,
    /// A program, with its arguments, that is started, and registered while it runs.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Args {
    /// Registers until a signal comes or the command ends.
    ///
    /// # Errors
    /// The configuration or the arguments are refused; with --once also what the registry says.
    pub fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { registry, instance, checks, ttl, drain_time, port_wait, once, command } = self;
        let loaded = global.load_to_write()?;
        let to = registries::registrar(&loaded, registry.as_deref())?;
        let (registration, main_port) = instance.registration(ttl)?;
        if let Err(error) = to.registrar.check(&registration) {
            let setting = Some(format!("registry {}", to.name));
            let problem =
                Problem { setting, key: Some(error.key), message: error.reason, ..Problem::default() };
            return Err(Problems::from(problem).into());
        }
        let withheld = withheld(&loaded);
        let check = checks.plan(&withheld);
        let is_udp = |port: &RegisteredPort| port.protocol == Some(Protocol::Udp) && port.number == main_port;
        let is_waited_for = check.is_some() || !command.is_empty();
        let port_wait = (is_waited_for && !registration.ports.values().any(is_udp)).then_some(port_wait);
        let plan = Plan { registration, main_port, check, drain_time, port_wait };
        if once {
            return block_on(write(&to, &plan));
        }
        init_logging(&loaded.config.log)?;
        let Registration { id, address, .. } = &plan.registration;
        tracing::info!(registry = &*to.name, kind = to.kind, id, %address, "registering");
        block_on(foreground::run(&*to.registrar, &plan, &command, &withheld))
    }
}

async fn write(to: &ConfiguredRegistrar, plan: &Plan) -> anyhow::Result<ExitCode> {
    let (registry, registration) = (&to.name, &plan.registration);
    let (service, id) = (&registration.service, &registration.id);
    let written = register::write_once(&*to.registrar, registration).await;
    written.with_context(|| format!("registry {registry}: {id} of {service} is not written"))?;
    print(&format!(
        "registered {id} of {service} at {} in {registry}; to remove it:\n  \
         pilot deregister --registry {registry} --service {service} --id {id}",
        registration.address
    ))
}

/// The environment variables that are pilot's own secrets, or may hold some: no program that it starts gets them.
fn withheld(loaded: &Loaded) -> Vec<String> {
    let config = &loaded.config;
    let registries = config.registry.values().flat_map(RegistryEntry::secret_variables);
    let rules = config.rules.values().flat_map(RulesEntry::secret_variables);
    let secrets = registries.chain(rules).map(str::to_owned);
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    secrets.chain(names.filter(|name| name.starts_with("PILOT_REGISTRY_"))).collect()
}

fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = crate::config::parse_duration(text)?;
    let range = Duration::from_secs(1)..=Duration::from_secs(3600);
    if range.contains(&ttl) { Ok(ttl) } else { Err("expected 1s to 1h".into()) }
}

#[cfg(all(test, feature = "consul", feature = "etcd"))]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use clap::{Args as _, FromArgMatches};

    use super::*;

    const CONFIG: &str = r#"
        [registry.east.consul]
        [registry.west.etcd]
        endpoints = ["http://127.0.0.1:2379"]
    "#;

    fn help() -> String {
        let command = Args::augment_args(clap::Command::new("register"));
        command.get_long_about().unwrap().to_string()
    }

    /// Whether a registry takes what an example registers. One that names no registry is for each.
    fn check(example: &str, registry: &str) {
        // A machine may have no address outwards.
        let example = if example.contains("--address") {
            example.to_owned()
        } else {
            example.replacen(" --port", " --address 10.0.0.9 --port", 1)
        };
        let command = Args::augment_args(clap::Command::new("register"));
        let words = example.trim_start_matches("pilot ").split_whitespace();
        let given = command.try_get_matches_from(words).unwrap_or_else(|error| panic!("{example}: {error}"));
        let args = Args::from_arg_matches(&given).unwrap();
        let name = args.registry.as_deref().unwrap_or(registry);
        let loaded = crate::config::parse("pilot.toml", CONFIG, &Default::default(), &[]).unwrap();
        let to = registries::registrar(&loaded, Some(name)).unwrap();
        let (registration, _) = args.instance.registration(args.ttl).unwrap();
        to.registrar.check(&registration).unwrap_or_else(|error| panic!("{example}: {error:?}"));
    }

    #[test]
    fn the_examples_of_the_help_work_with_what_registries_are_by_default() {
        let help = help();
        let examples: Vec<&str> =
            help.lines().filter_map(|line| line.find(": pilot register").map(|at| &line[at + 2..])).collect();
        assert_eq!(examples.len(), 4, "{help}");
        for example in &examples {
            ["east", "west"].into_iter().for_each(|registry| check(example, registry));
        }
        for registry in ["east", "west"] {
            assert!(examples.iter().any(|example| example.contains(&format!("--registry {registry}"))));
        }
    }

    #[test]
    fn the_help_says_when_a_registry_removes_who_has_crashed() {
        let help = help();
        assert!(
            help.contains("in Consul it is critical") && help.contains("at least 60 seconds later"),
            "{help}"
        );
    }
}
