//! `pilot check`: is everything in order, without serving it?

use std::process::ExitCode;

use serde::Serialize;

use super::{EXIT_INVALID, Global, Output, Table};
use crate::config::{Problem, Problems};
use crate::registries::{self, Inspected};

/// Check the configuration, and the files that it names, without serving
///
/// Says everything that is wrong at once, each with file, line and column. The exit code is 0 when
/// all is in order and 2 when it is not.
///
/// Example: pilot check --config pilot.toml
///
/// For programs: pilot check -o json
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    output: Output,
}

/// What a registry has that would have to be asked over the network.
const NOT_LOOKED_AT: &str = "not looked at";

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    config: String,
    registries: Vec<Inspected>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Args {
    /// Checks, and prints what it found.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { output } = self;
        let report = report(global);
        super::print(&output.format.render(&report, Report::table)?)?;
        Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::from(EXIT_INVALID) })
    }
}

fn report(global: &Global) -> Report {
    let (registries, problems, warnings) = match global.load_quietly() {
        Err(Problems(problems)) => (Vec::new(), problems, Vec::new()),
        Ok(loaded) => {
            let (inspected, problems) = registries::inspect(&loaded);
            (inspected, problems, loaded.warnings)
        }
    };
    let config = global.config.display().to_string();
    Report { ok: problems.is_empty(), config, registries, problems, warnings }
}

impl Report {
    fn table(&self) -> String {
        let mut parts = Vec::new();
        if !self.problems.is_empty() {
            parts.push(table_of("problem", &self.problems));
        }
        if !self.warnings.is_empty() {
            parts.push(table_of("warning", &self.warnings));
        }
        if !self.registries.is_empty() {
            let mut table = Table::new(["registry", "kind", "priority", "services", "endpoints"]);
            for found in &self.registries {
                let number = |count: Option<usize>| count.map_or(NOT_LOOKED_AT.into(), |it| it.to_string());
                let [services, endpoints] = [found.services, found.endpoints].map(number);
                let priority = found.priority.to_string();
                table.row([found.registry.clone(), found.kind.into(), priority, services, endpoints]);
            }
            parts.push(table.to_string());
        }
        parts.push(self.verdict());
        parts.join("\n")
    }

    fn verdict(&self) -> String {
        let sum = |count: fn(&Inspected) -> Option<usize>| self.registries.iter().filter_map(count).sum();
        match self.problems.len() {
            0 => format!(
                "{} is in order: {}, {}, {}",
                self.config,
                counted(self.registries.len(), "registry", "registries"),
                counted(sum(|found| found.services), "service", "services"),
                counted(sum(|found| found.endpoints), "endpoint", "endpoints"),
            ),
            problems => {
                format!("{} is not in order: {}", self.config, counted(problems, "problem", "problems"))
            }
        }
    }
}

fn table_of(heading: &str, problems: &[Problem]) -> String {
    let mut table = Table::new(["place", "key", heading]);
    for problem in problems {
        table.row([problem.place(), problem.key.clone().unwrap_or_default(), problem.message.clone()]);
    }
    table.to_string()
}

fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
