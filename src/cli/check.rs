//! `pilot check`: is everything in order, without serving it?

use std::process::ExitCode;

use serde::Serialize;

use super::{EXIT_INVALID, Global, Output, Table};
use crate::catalog::state::probe;
use crate::catalog::{Catalog, Source};
use crate::config::{Loaded, Problem, Problems, UsedVariable};
use crate::mesh::{Mesh, MeshOptions};
use crate::proxy::{ConfigSource, Role, Scope};
use crate::registries::{self, Inspected};
use crate::translate::translate;

/// Check the configuration, and the files that it names, without serving
///
/// Says everything that is wrong at once, each with file, line and column. What services claim against each
/// other, and what registries say differently of one service, is a warning: `serve` decides it. The exit
/// code is 0 when all is in order, warnings or not, and 2 when it is not.
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
    /// What was taken from the variables of other tools.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    used: Vec<UsedVariable>,
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
    let (registries, problems, warnings, used) = match global.load_quietly() {
        Err(Problems(problems)) => (Vec::new(), problems, Vec::new(), Vec::new()),
        Ok(loaded) => {
            let (inspected, mut problems, sources) = registries::inspect(&loaded);
            problems.extend(state_dir(&loaded));
            let mut warnings = loaded.warnings;
            warnings.extend(conflicts(&sources, (&loaded.config).into()));
            (inspected, problems, warnings, loaded.used)
        }
    };
    let config = global.config.display().to_string();
    Report { ok: problems.is_empty(), config, registries, problems, warnings, used }
}

/// What would keep the last known good from being written.
fn state_dir(loaded: &Loaded) -> Option<Problem> {
    let dir = loaded.config.state.dir.as_ref()?;
    let error = probe(dir).err()?;
    let why = format!("{} cannot be written in ({error}): expected a folder of pilot's own", dir.display());
    Some(loaded.origins.problem("state.dir", why))
}

/// What a router would be served with, and some service would not get.
fn conflicts(sources: &[Source], options: MeshOptions) -> Vec<Problem> {
    let mesh = Mesh { catalog: Catalog::merge(sources, &Catalog::default()), options };
    let (role, config_source) = (Role::Router, ConfigSource::Ads);
    let scope = Scope::new(role, config_source);
    let disputed = mesh.catalog.conflicts().map(|(host, conflict)| format!("{host}: {conflict}"));
    let claims = translate(&mesh, &scope).conflicts;
    let claims = claims.iter().map(ToString::to_string);
    disputed.chain(claims).map(|message| Problem { message, ..Problem::default() }).collect()
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
        if !self.used.is_empty() {
            let mut table = Table::new(["variable", "key", "value"]);
            for UsedVariable { variable, key, value } in &self.used {
                table.row([variable.clone(), key.clone(), value.clone()]);
            }
            parts.push(table.to_string());
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

    /// How many there are of what, where that is known.
    fn contents(&self) -> Vec<String> {
        let sum = |count: fn(&Inspected) -> Option<usize>| {
            let known = self.registries.iter().filter_map(count);
            known.fold(None, |sum, count| Some(sum.unwrap_or(0) + count))
        };
        let registries = counted(self.registries.len(), "registry", "registries");
        let services = sum(|found| found.services).map(|known| counted(known, "service", "services"));
        let endpoints = sum(|found| found.endpoints).map(|known| counted(known, "endpoint", "endpoints"));
        std::iter::once(registries).chain(services).chain(endpoints).collect()
    }

    fn verdict(&self) -> String {
        match self.problems.len() {
            0 => format!("{} is in order: {}", self.config, self.contents().join(", ")),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_that_is_asked_over_the_network_is_not_looked_at() {
        let found = |name: &str, count| Inspected {
            registry: name.into(),
            kind: "any",
            priority: 0,
            services: count,
            endpoints: count,
        };
        let registries = vec![found("near", Some(2)), found("remote", None)];
        let (config, problems, warnings) = ("pilot.toml".to_owned(), Vec::new(), Vec::new());
        let shown = Report { ok: true, config, registries, problems, warnings, used: Vec::new() }.table();
        let expected = "REGISTRY  KIND  PRIORITY  SERVICES       ENDPOINTS\n\
                        near      any   0         2              2\n\
                        remote    any   0         not looked at  not looked at\n\n\
                        pilot.toml is in order: 2 registries, 2 services, 2 endpoints";
        assert_eq!(shown, expected);
    }
    #[test]
    fn what_is_not_known_is_not_counted() {
        let [services, endpoints] = [None; 2];
        let remote = Inspected { registry: "remote".into(), kind: "any", priority: 0, services, endpoints };
        let (config, problems, warnings) = ("pilot.toml".to_owned(), Vec::new(), Vec::new());
        let report = Report { ok: true, config, registries: vec![remote], problems, warnings };
        assert_eq!(report.verdict(), "pilot.toml is in order: 1 registry");
    }
}
