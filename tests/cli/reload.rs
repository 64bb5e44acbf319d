//! SIGHUP, edits of pilot.toml, and the limit of open files: what a running `pilot serve` makes of them.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use pilot_registry_testkit::server::{free_address, own_address};
use tempfile::TempDir;

use super::{SERVICES, folder};
use crate::support::process::Process;
use crate::support::wait::{holds, throughout, until};

const PILOT: &str = env!("CARGO_BIN_EXE_pilot");

/// A running `pilot serve`, in a folder of its own.
pub(crate) struct Serve {
    process: Process,
    pub(crate) folder: TempDir,
    config: String,
    admin: String,
}

impl Serve {
    /// With these tables beside the listeners, and `services.toml`.
    pub(crate) async fn start(tables: &str) -> Self {
        Self::start_by(Command::new(PILOT), tables).await
    }

    /// The same, by a command that becomes pilot.
    async fn start_by(mut command: Command, tables: &str) -> Self {
        let (xds, admin) = (own_address().unwrap(), free_address().unwrap());
        let config = format!("[xds]\nlisten = \"{xds}:18000\"\n[admin]\nlisten = \"{admin}\"\n{tables}");
        let folder = folder(&config, SERVICES);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PILOT_"))
        {
            command.env_remove(name);
        }
        let process = Process::spawn("serve", folder.path(), command.current_dir(folder.path()));
        let mut serve = Self { process, folder, config, admin: admin.to_string() };
        until("it serves", async || {
            serve.process.assert_alive();
            TcpStream::connect(&serve.admin)
        })
        .await;
        serve
    }

    fn write_config(&self, text: &str) {
        write(self.folder.path(), text);
    }

    pub(crate) async fn says(&mut self, text: &str) {
        until(&format!("it says {text:?}"), async || {
            self.process.assert_alive();
            holds(self.process.output().contains(text), self.process.output())
        })
        .await;
    }

    fn times(&self, text: &str) -> usize {
        self.process.output().matches(text).count()
    }

    /// Sends SIGHUP, and waits for one more answer to it.
    async fn hang_up(&mut self, answer: &str) {
        let before = self.times(answer);
        self.process.signal("HUP");
        until("SIGHUP is answered", async || {
            self.process.assert_alive();
            holds(self.times(answer) == before + 1, self.process.output())
        })
        .await;
    }
}

/// As careful editors do.
fn write(folder: &Path, text: &str) {
    std::fs::write(folder.join("new"), text).unwrap();
    std::fs::rename(folder.join("new"), folder.join("pilot.toml")).unwrap();
}

const LOCAL: &str = "[registry.local.file]\npath = \"services.toml\"\n";
const READ_AGAIN: &str = "SIGHUP: files of registries are read again files=\"local: ";
const NEEDS_RESTART: &str = "the configuration has changed: that needs a restart of pilot";

#[tokio::test]
async fn sighup_reloads_files_and_ends_nothing() {
    let mut serve = Serve::start(LOCAL).await;
    serve.hang_up(READ_AGAIN).await;
    serve.hang_up(READ_AGAIN).await;
    assert_eq!(serve.times(NEEDS_RESTART), 0, "{}", serve.process.output());
    serve.process.signal("TERM");
    assert_eq!(serve.process.ended().await.code(), Some(0), "{}", serve.process.output());
}

#[tokio::test]
async fn sighup_says_what_of_pilot_toml_needs_a_restart() {
    let mut serve = Serve::start(LOCAL).await;
    let changed = serve.config.replace("services.toml", "other.toml") + "[push]\nquiet = \"50ms\"\n";
    serve.write_config(&changed);
    let keys = "keys=\"push.quiet, registry.local.file.path\"";
    serve.says(NEEDS_RESTART).await;
    let before = serve.times(keys);
    assert!(before > 0, "{}", serve.process.output());
    serve.hang_up(READ_AGAIN).await;
    until("it is said again", async || holds(serve.times(keys) > before, serve.process.output())).await;
}

#[tokio::test]
async fn an_edit_of_pilot_toml_is_said_once_without_a_signal() {
    let mut serve = Serve::start(LOCAL).await;
    let changed = serve.config.clone() + "[push]\nquiet = \"50ms\"\n";
    serve.write_config(&changed);
    serve.says("keys=\"push.quiet\"").await;
    // The same in other words, and then an end of it, which comes after it in the log.
    serve.write_config(&(changed + "# a comment\n"));
    serve.write_config(&serve.config);
    serve.says("the configuration is again the one of the start").await;
    assert_eq!(serve.times(NEEDS_RESTART), 1, "{}", serve.process.output());
}

#[tokio::test]
async fn a_broken_pilot_toml_is_said_with_its_mistakes_and_pilot_goes_on() {
    let mut serve = Serve::start(LOCAL).await;
    serve.write_config(&serve.config.replace("[xds]\nlisten", "[xds]\nlisen"));
    serve.says("the configuration is not in order: pilot goes on with the one of the start").await;
    serve.says("pilot.toml:2:1: xds.lisen: unknown key").await;
    serve.hang_up(READ_AGAIN).await;
    let admin = serve.admin.clone();
    throughout("it serves", std::time::Duration::from_millis(300), async || {
        TcpStream::connect(&admin).map(drop)
    })
    .await;
}

#[tokio::test]
async fn without_files_sighup_says_that_nothing_is_reloaded() {
    let address = free_address().unwrap();
    let nobody = format!("[registry.far.consul]\naddress = \"http://{address}\"\n");
    let mut serve = Serve::start(&nobody).await;
    serve.hang_up("SIGHUP: nothing is reloaded, as no registry reads files").await;
}

#[tokio::test]
async fn a_folder_in_place_of_pilot_toml_is_no_configuration() {
    let mut serve = Serve::start(LOCAL).await;
    let config = serve.folder.path().join("pilot.toml");
    std::fs::remove_file(&config).unwrap();
    std::fs::create_dir(&config).unwrap();
    serve.says("it is a folder").await;
    assert_eq!(
        serve.times("the configuration is again the one of the start"),
        0,
        "{}",
        serve.process.output()
    );
}

#[tokio::test]
async fn fewer_file_descriptors_than_streams_are_told() {
    let mut few = Command::new("sh");
    few.args(["-c", "ulimit -Sn 200 && exec \"$0\"", PILOT]);
    let mut serve = Serve::start_by(few, LOCAL).await;
    serve.says("this process may open fewer files than [xds] max_streams allows streams").await;
    serve.says("descriptors=200").await;
}
