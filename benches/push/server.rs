//! The server in a process of its own, so that its processor time and memory can be told from the clients'.
//!
//! ```text
//!  parent ── stdin:  "publish 1000 20"  "change 7 1" ──► child: pilot::run with a scripted registry
//!         ◄─ stdout: "listening 127.0.0.1:… 127.0.0.1:…"  "published <nanoseconds>" ──
//! ```

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use pilot::Listeners;
use pilot::config::Config;
use pilot::registries::ConfiguredRegistry;
use pilot_registry::{Service, Snapshot};
use pilot_registry_testkit::{Script, Scripted};

use crate::machine::Process;
use crate::{services, tally};

/// The argument that makes the bench's own program the server.
pub(crate) const ARGUMENT: &str = "serve";

/// A running server. It is ended when this is dropped.
pub(crate) struct Server {
    child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// Where it serves xDS.
    pub(crate) address: SocketAddr,
    /// Where its probes are.
    pub(crate) admin: SocketAddr,
}

impl Server {
    /// Starts a server that knows nothing yet.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the server")?;
        let commands = child.stdin.take().context("the server's stdin is a pipe")?;
        let stdout = child.stdout.take().context("the server's stdout is a pipe")?;
        let mut answers = BufReader::new(stdout).lines();
        let listening = answer(&mut answers, "listening")?;
        let (address, admin) = listening.split_once(' ').context("the server says two addresses")?;
        Ok(Self { child, commands, answers, address: address.parse()?, admin: admin.parse()? })
    }

    /// Publishes a mesh. Returns the time at which it was published.
    pub(crate) fn publish(&mut self, services: usize, endpoints: usize) -> anyhow::Result<Duration> {
        self.command(&format!("publish {services} {endpoints}"))
    }

    /// Changes one endpoint of a service. Returns the time at which the change was published.
    pub(crate) fn change(&mut self, service: usize, step: u32) -> anyhow::Result<Duration> {
        self.command(&format!("change {service} {step}"))
    }

    /// Publishes a service more, or takes the last one away, so that there are so many. Returns the time of it.
    pub(crate) fn resize(&mut self, services: usize, endpoints: usize) -> anyhow::Result<Duration> {
        self.command(&format!("resize {services} {endpoints}"))
    }

    /// The process.
    pub(crate) fn process(&self) -> Process {
        Process::of(self.child.id())
    }

    fn command(&mut self, line: &str) -> anyhow::Result<Duration> {
        writeln!(self.commands, "{line}")?;
        Ok(Duration::from_nanos(answer(&mut self.answers, "published")?.parse()?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn answer(answers: &mut Lines<BufReader<ChildStdout>>, word: &str) -> anyhow::Result<String> {
    let line = answers.next().context("the server has ended")??;
    match line.split_once(' ') {
        Some((known, rest)) if known == word => Ok(rest.to_owned()),
        _ => bail!("the server said {line:?}, expected {word:?}"),
    }
}

/// Serves until stdin ends.
pub(crate) fn serve() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (registry, script) = Scripted::new();
        let mut config = Config::default();
        config.xds.listen.set_port(0);
        config.admin.listen.set_port(0);
        let listeners = Listeners::bind(&config).await?;
        println!("listening {} {}", listeners.xds.local_addr()?, listeners.admin.local_addr()?);
        let registry = ConfiguredRegistry {
            name: "bench".into(),
            kind: "scripted",
            priority: 0,
            patience: None,
            registry: Box::new(registry),
        };
        let (_trigger, shutdown) = pilot::shutdown::shutdown();
        tokio::select! {
            ended = pilot::run(&config, vec![registry], listeners, shutdown) => Ok(ended?),
            ended = obey(script) => ended,
        }
    })
}

async fn obey(script: Script) -> anyhow::Result<()> {
    use tokio::io::AsyncBufReadExt;
    let mut lines = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    let mut mesh: Vec<Arc<Service>> = Vec::new();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["publish", services, endpoints] => {
                mesh = services::services(services.parse()?, endpoints.parse()?);
            }
            ["change", service, step] => {
                let number: usize = service.parse()?;
                let known = mesh.get_mut(number).with_context(|| format!("no service {number}"))?;
                *known = services::service(number, known.endpoints.len(), step.parse()?);
            }
            ["resize", services, endpoints] => {
                let (services, endpoints) = (services.parse()?, endpoints.parse()?);
                mesh.truncate(services);
                mesh.extend((mesh.len()..services).map(|number| services::service(number, endpoints, 0)));
            }
            _ => bail!("unknown command {line:?}"),
        }
        let snapshot = Snapshot::new(mesh.iter().cloned())?;
        let published = tally::now();
        script.publish(snapshot).await;
        println!("published {}", published.as_nanos());
    }
    Ok(())
}
