//! `pilot version`: which pilot this is, and which one serves.

use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use super::client::{Question, Target};
use super::{Global, Output, Table};
use crate::admin::VersionReport;

/// A server that is there answers this sooner.
const PATIENCE: Duration = Duration::from_secs(5);

/// Show the version of this pilot, and of the one that runs
///
/// A server that does not answer is no error: it says so.
///
/// Example: pilot version -o json
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ask no server.
    #[arg(long)]
    client: bool,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: Output,
}

/// Both versions.
#[derive(Debug, Serialize)]
struct Report {
    client: VersionReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<Server>,
}

/// The server's version, or why it is not known.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Server {
    Known(VersionReport),
    Unknown { error: String },
}

impl Args {
    /// Prints both versions.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { client, target, output } = self;
        let ask = || match target.ask_within(PATIENCE, global, &Question::new("/version")) {
            Ok(report) => Server::Known(report),
            Err(error) => Server::Unknown { error: format!("{error:#}") },
        };
        let report = Report { client: VersionReport::own(), server: (!client).then(ask) };
        super::print(&output.format.render(&report, Report::table)?)
    }
}

impl Report {
    fn table(&self) -> String {
        let mut table = Table::new(["component", "version"]);
        table.row(["client".into(), self.client.version.clone()]);
        match &self.server {
            None => return table.to_string(),
            Some(Server::Known(server)) => table.row(["server".into(), server.version.clone()]),
            Some(Server::Unknown { .. }) => table.row(["server".into(), "unknown".into()]),
        }
        match &self.server {
            Some(Server::Unknown { error }) => format!("{table}\nserver: {error}\n"),
            _ => table.to_string(),
        }
    }
}
