//! `pilot check`: is everything in order, without serving it?

mod connect;
mod files;
mod target;
mod warnings;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use super::{EXIT_INVALID, Global, Output, Table, block_on};
use crate::catalog::Catalog;
use crate::catalog::saved::probe;
use crate::config::{Loaded, Problem, Problems, UnusedVariable, UsedVariable};
use crate::registries::{self, Inspected, Inspection};
use connect::{Answer, Asked};

/// Check the configuration, and the files that it names, without serving
///
/// Says everything that is wrong at once, each with file, line and column. Looks into services files, and at
/// the files with credentials and certificates that registries need. With --connect it asks each registry once,
/// too. Warnings are what serve decides by itself, and what may not be meant: services that claim the same,
/// registries that disagree, services without endpoints, ports that Envoy cannot have.
///
/// Exit codes: 0 when all is in order, warnings or not; 1 when --connect is given and a registry does not answer;
/// 2 when there is something to mend in a file, a variable or a flag.
///
/// Example: pilot check --connect
///
/// One services file alone: pilot check services.toml
///
/// For programs: pilot check -o json
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A services file, or a folder of them, to check alone; or another pilot.toml, or its folder, as by
    /// --config.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Ask each registry once what it has.
    #[arg(long)]
    connect: bool,
    /// How long each registry may take to answer.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = crate::config::parse_duration, requires = "connect")]
    timeout: Duration,
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
    registries: Vec<Found>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    /// What was taken from the variables of other tools.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    used: Vec<UsedVariable>,
}

/// What was found of a registry.
#[derive(Debug, Serialize)]
struct Found {
    #[serde(flatten)]
    inspected: Inspected,
    /// What it said, if it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Answer>,
}

impl Args {
    /// Checks, and prints what it found.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { file, connect, timeout, output } = self;
        let target = target::load(global, file);
        let name = target.name.clone();
        let mut report = match &target.loaded {
            Err(Problems(problems)) => {
                let (registries, warnings, problems) = (Vec::new(), Vec::new(), problems.clone());
                Report { ok: false, config: name, registries, problems, warnings, used: Vec::new() }
            }
            Ok(loaded) => report(name, loaded, connect.then_some(timeout))?,
        };
        report.problems = report.problems.into_iter().map(|problem| target.place(problem)).collect();
        super::print(&output.format.render(&report, Report::table)?)?;
        Ok(match (report.ok, report.problems.is_empty()) {
            (true, _) => ExitCode::SUCCESS,
            (false, true) => ExitCode::FAILURE,
            (false, false) => ExitCode::from(EXIT_INVALID),
        })
    }
}

/// `connect`: for how long each registry is asked, if at all.
fn report(config: String, loaded: &Loaded, connect: Option<Duration>) -> anyhow::Result<Report> {
    let Inspection { registries, mut problems, mut sources, places } = registries::inspect(loaded);
    problems.extend(files::problems(loaded));
    problems.extend(state_dir(loaded));
    let mut warnings = loaded.warnings.clone();
    warnings.extend(files::missing_variables(loaded));
    warnings.extend(loaded.unused.iter().map(|UnusedVariable { variable, why }| {
        Problem::with_setting(*variable, format!("it does not count: {why}"))
    }));
    let mut found: Vec<Found> =
        registries.into_iter().map(|inspected| Found { inspected, answer: None }).collect();
    if let Some(patience) = connect {
        // What an adapter refuses is a problem already: the others are asked all the same.
        let (built, _refused) = registries::build_each(loaded);
        for asked in block_on(async { Ok(connect::ask(built, patience).await) })? {
            found.iter_mut().filter(|found| *found.inspected.registry == *asked.registry).for_each(|found| {
                found.take(&asked);
            });
            let is_new =
                asked.source.iter().all(|it| sources.iter().all(|known| known.registry != it.registry));
            if is_new {
                let warning = |message: &String| Problem {
                    message: format!("registry {}: {message}", asked.registry),
                    ..Problem::default()
                };
                warnings.extend(asked.told.iter().map(warning));
                sources.extend(asked.source);
            }
        }
    }
    let complete = found.iter().all(|found| found.inspected.endpoints.is_some());
    let catalog = Catalog::merge(&sources, &Catalog::default());
    warnings.extend(warnings::of(catalog, &loaded.config, &places, complete));
    let answered = found.iter().all(|found| found.answer.as_ref().is_none_or(|answer| answer.ok));
    let ok = problems.is_empty() && answered;
    Ok(Report { ok, config, registries: found, problems, warnings, used: loaded.used.clone() })
}

/// What would keep the last known good from being written.
fn state_dir(loaded: &Loaded) -> Option<Problem> {
    let dir = loaded.config.state.dir.as_ref()?;
    let error = probe(dir).err()?;
    let why = format!("{} cannot be written in ({error}): expected a folder of pilot's own", dir.display());
    Some(loaded.origins.problem("state.dir", why))
}

impl Found {
    /// Takes over what the registry said.
    fn take(&mut self, asked: &Asked) {
        if let Some(source) = &asked.source {
            self.inspected.services = Some(source.snapshot.services().len());
            self.inspected.endpoints = Some(source.snapshot.endpoint_count());
        }
        self.answer = Some(asked.answer.clone());
    }
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
        if self.registries.iter().any(|found| found.answer.is_some()) {
            parts.push(self.answers().to_string());
        } else if !self.registries.is_empty() {
            let mut table = Table::new(["registry", "kind", "priority", "services", "endpoints"]);
            self.registries.iter().for_each(|found| table.row(cells(found)));
            parts.push(table.to_string());
        }
        parts.push(self.verdict());
        parts.join("\n")
    }

    fn answers(&self) -> Table {
        let mut table =
            Table::new(["registry", "kind", "priority", "services", "endpoints", "skipped", "answer"]);
        for found in &self.registries {
            let [name, kind, priority, services, endpoints] = cells(found);
            let (skipped, said) = match &found.answer {
                None => (String::new(), "not asked".to_owned()),
                Some(Answer { error: Some(error), skipped, .. }) => (skipped.to_string(), error.clone()),
                Some(Answer { took_ms, skipped, .. }) => (skipped.to_string(), format!("ok, {took_ms} ms")),
            };
            table.row([name, kind, priority, services, endpoints, skipped, said]);
        }
        table
    }

    /// How many there are of what, where that is known.
    fn contents(&self) -> Vec<String> {
        let sum = |count: fn(&Inspected) -> Option<usize>| {
            let known = self.registries.iter().filter_map(|found| count(&found.inspected));
            known.fold(None, |sum, count| Some(sum.unwrap_or(0) + count))
        };
        let registries = counted(self.registries.len(), "registry", "registries");
        let services = sum(|found| found.services).map(|known| counted(known, "service", "services"));
        let endpoints = sum(|found| found.endpoints).map(|known| counted(known, "endpoint", "endpoints"));
        std::iter::once(registries).chain(services).chain(endpoints).collect()
    }

    fn verdict(&self) -> String {
        let failed = self.registries.iter().filter(|found| found.answer.as_ref().is_some_and(|it| !it.ok));
        let failed = failed.count();
        let mut wrong = self.wrong_places();
        if failed > 0 {
            wrong.push(format!("{} did not answer as expected", counted(failed, "registry", "registries")));
        }
        if wrong.is_empty() {
            return format!("{} is in order: {}", self.config, self.contents().join(", "));
        }
        wrong.join(", ")
    }

    /// How many problems there are in which file, variable or flag.
    fn wrong_places(&self) -> Vec<String> {
        let mut places: Vec<(String, usize)> = Vec::new();
        for problem in &self.problems {
            let place = problem.file.as_ref().or(problem.setting.as_ref()).unwrap_or(&self.config);
            match places.iter_mut().find(|(known, _)| known == place) {
                Some((_, count)) => *count += 1,
                None => places.push((place.clone(), 1)),
            }
        }
        let said =
            |(place, count): (String, usize)| format!("{} in {place}", counted(count, "problem", "problems"));
        places.into_iter().map(said).collect()
    }
}

fn cells(found: &Found) -> [String; 5] {
    let Inspected { registry, kind, priority, services, endpoints } = &found.inspected;
    let number = |count: &Option<usize>| match (count, &found.answer) {
        (Some(count), _) => count.to_string(),
        (None, None) => NOT_LOOKED_AT.to_owned(),
        (None, Some(_)) => String::new(),
    };
    [registry.clone(), (*kind).to_owned(), priority.to_string(), number(services), number(endpoints)]
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
        let found = |name: &str, count| Found {
            inspected: Inspected {
                registry: name.into(),
                kind: "any",
                priority: 0,
                services: count,
                endpoints: count,
            },
            answer: None,
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
        let remote = Found { inspected: remote, answer: None };
        let (config, problems, warnings) = ("pilot.toml".to_owned(), Vec::new(), Vec::new());
        let (registries, used) = (vec![remote], Vec::new());
        let report = Report { ok: true, config, registries, problems, warnings, used };
        assert_eq!(report.verdict(), "pilot.toml is in order: 1 registry");
    }
}
