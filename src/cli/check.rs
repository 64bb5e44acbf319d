//! `pilot check`: is everything in order, without serving it?

mod connect;
mod files;
pub(super) mod open;
mod rules;
mod running;
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
use rules::Documents;
use running::Running;

/// Check the configuration, and the files that it names, without serving
///
/// Says everything that is wrong at once, each with file, line and column; what depends on something that is wrong is
/// looked at when that is right. Looks into services files and documents of rules, and at the files with credentials and
/// certificates that registries need, and that a kubeconfig names. With --connect it asks each registry once,
/// too. Warnings are what serve decides by itself, and what may not be meant: services that claim the same,
/// registries that disagree, services without endpoints, ports that Envoy cannot have, ports that other machines reach.
///
/// Exit codes: 0 when all is in order, warnings or not; 1 when --connect is given and a registry does not answer;
/// 2 when there is something to mend in a file, a variable or a flag.
///
/// Example: pilot check --connect
///
/// One services file alone: pilot check services.toml
///
/// Documents of rules, beside the services of pilot.toml: pilot check --rules rules/
///
/// Documents alone, as for a change that is proposed: pilot check cart.yaml stock.yaml
///
/// The same, beside the services of a running pilot: pilot check cart.yaml --admin http://127.0.0.1:18080
///
/// For programs: pilot check -o json
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A services file, or a folder of them, to check alone; or another pilot.toml, or its folder, as by
    /// --config; or files and folders with documents of rules, to check alone.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A file or a folder with documents of rules, to check instead of those that pilot.toml names.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Compare documents of rules with the services of the running pilot whose admin server is there, for example
    /// http://127.0.0.1:18080.
    #[arg(long, value_name = "URL", value_parser = super::client::authority, conflicts_with = "connect")]
    admin: Option<String>,
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
    /// How many documents of rules there are.
    #[serde(skip_serializing_if = "is_none")]
    documents: usize,
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
        let Self { files, rules, admin, connect, timeout, output } = self;
        let mut target = target::load(global, files);
        target.take_rules(rules);
        let name = target.name.clone();
        let running = admin.map(|admin| Running::at(global, admin)).transpose()?;
        let scope =
            Looked { connect: connect.then_some(timeout), running, is_documents: target.is_documents };
        let mut report = match &target.loaded {
            Err(Problems(problems)) => {
                let (registries, warnings, problems) = (Vec::new(), Vec::new(), problems.clone());
                let (config, used) = (name, Vec::new());
                Report { ok: false, config, registries, documents: 0, problems, warnings, used }
            }
            Ok(loaded) => report(name, loaded, scope)?,
        };
        report.problems = report.problems.into_iter().map(|problem| target.place(problem)).collect();
        // In the order of the files, whoever found them.
        for list in [&mut report.problems, &mut report.warnings] {
            list.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        }
        super::print(&output.format.render(&report, Report::table)?)?;
        Ok(match (report.ok, report.problems.is_empty()) {
            (true, _) => ExitCode::SUCCESS,
            (false, true) => ExitCode::FAILURE,
            (false, false) => ExitCode::from(EXIT_INVALID),
        })
    }
}

/// What else is looked at.
struct Looked<'a> {
    /// For how long each registry is asked, if at all.
    connect: Option<Duration>,
    /// The services of a running pilot.
    running: Option<Running<'a>>,
    /// There are documents of rules, and nothing else.
    is_documents: bool,
}

fn report(config: String, loaded: &Loaded, looked: Looked<'_>) -> anyhow::Result<Report> {
    let Looked { connect, running, is_documents } = looked;
    let Inspection { registries, mut problems, mut sources, places } = registries::inspect(loaded);
    let documents = Documents::of(loaded, is_documents);
    problems.extend(documents.problems.iter().cloned());
    let mut warnings = Vec::new();
    if !is_documents {
        problems.extend(files::problems(loaded));
        problems.extend(state_dir(loaded));
        warnings.extend(of_configuration(loaded));
    }
    warnings.extend(documents.warnings.iter().cloned());
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
    let running = running
        .map(|it| it.catalog(|services| documents.with_policies(services, &loaded.config)))
        .transpose()?;
    // Without any services, each host would be one that nobody has.
    let services = running.as_ref().or_else(|| (complete && !is_documents).then_some(&catalog));
    warnings.extend(services.into_iter().flat_map(|services| documents.in_mesh(services, &loaded.config)));
    if !is_documents {
        warnings.extend(warnings::of(catalog, &loaded.config, &places, complete));
    }
    let answered = found.iter().all(|found| found.answer.as_ref().is_none_or(|answer| answer.ok));
    let ok = problems.is_empty() && answered;
    let used = if is_documents { Vec::new() } else { loaded.used.clone() };
    let documents = documents.count;
    Ok(Report { ok, config, registries: found, documents, problems, warnings, used })
}

/// What the configuration says that may not be meant.
fn of_configuration(loaded: &Loaded) -> Vec<Problem> {
    let mut warnings = loaded.warnings.clone();
    warnings.extend(open::warnings(loaded));
    warnings.extend(files::missing_variables(loaded));
    warnings.extend(loaded.unused.iter().map(|UnusedVariable { variable, why, is_read }| {
        let what = if *is_read { "it does not count" } else { "pilot does not read it" };
        Problem::with_setting(*variable, format!("{what}: {why}"))
    }));
    warnings
}

/// What would keep the last known good from being written.
fn state_dir(loaded: &Loaded) -> Option<Problem> {
    let dir = loaded.config.state.dir.as_ref()?;
    let why = probe(dir).err()?;
    Some(loaded.origins.problem("state.dir", why.to_string()))
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
        let documents = Some(self.documents).filter(|count| *count > 0);
        let documents = documents.map(|count| counted(count, "document of rules", "documents of rules"));
        let registries = Some(registries).filter(|_| !self.registries.is_empty() || documents.is_none());
        registries.into_iter().chain(services).chain(endpoints).chain(documents).collect()
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

fn is_none(count: &usize) -> bool {
    *count == 0
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
        let shown =
            Report { ok: true, config, registries, documents: 0, problems, warnings, used: Vec::new() };
        let shown = shown.table();
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
        let report = Report { ok: true, config, registries, documents: 0, problems, warnings, used };
        assert_eq!(report.verdict(), "pilot.toml is in order: 1 registry");
    }
}
