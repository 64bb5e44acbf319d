//! `pilot plan`: what documents would change for whom, before they are taken in.

mod diff;

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::client::{Question, Target};
use super::documents::{self, Read};
use super::output::plain;
use super::{EXIT_INVALID, Global, Output, OutputFormat, Table};
use crate::admin::{ChangeKind, PlanFile, PlanReport, PlanRequest, PlannedAs, PlannedDocument, PlannedGroup};
use crate::config::{Problem, Problems};
use crate::translate::rules::Standing;

/// Show which proxies documents would change, and what, without applying them
///
/// Sends the documents to a running pilot, which translates them beside those that are in force, for the proxies that are
/// connected now, and changes nothing. A document that pilot has already would be replaced; a new one would be of the store that has
/// the smallest priority. Where no proxy is connected, it is shown what one would see that says nothing of itself.
///
/// Documents that are in force and in none of the files stay in force, unless --delete names them. Then it is shown, too, what would
/// be said of the documents that need them. What the files do not say, the store decides: the age of a new
/// document is not known beforehand, so it counts as the youngest.
///
/// With -o yaml, each change has a diff of the resource, with Envoy's field names; with -o json, the resource before and after.
///
/// Exit codes: 0 when no document is rejected, whether something changes or not; 2 when one is, with what `pilot check` says of it;
/// 1 when pilot does not answer.
///
/// Example: pilot plan reviews.yaml
///
/// A folder, with diffs: pilot plan rules/ -o yaml
///
/// A document that would be removed: pilot plan --delete DestinationRule/default/reviews
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files of documents, or folders of them.
    #[arg(value_name = "FILE", required_unless_present = "delete")]
    files: Vec<PathBuf>,
    /// A document that would be removed. May be given several times, and beside files.
    #[arg(long, value_name = "KIND/NAMESPACE/NAME")]
    delete: Vec<String>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: Output,
}

impl Args {
    /// Asks, and prints the plan.
    ///
    /// # Errors
    /// A document is rejected, or pilot does not answer.
    pub fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { files, delete, target, output } = self;
        let request = request(&files, delete)?;
        let report: PlanReport = target.tell(global, &Question::new("/plan").carrying(&request)?)?;
        let text = match output.format {
            OutputFormat::Yaml => output.format.render(&Diffed::of(&report), |_| String::new())?,
            format => format.render(&report, table)?,
        };
        super::print(&text)?;
        Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::from(EXIT_INVALID) })
    }
}

/// All texts. What is wrong with them is told before anybody is asked.
fn request(files: &[PathBuf], delete: Vec<String>) -> Result<PlanRequest, Problems> {
    let (mut all, mut problems) = (Vec::new(), Vec::<Problem>::new());
    for path in files {
        match documents::read(path) {
            Ok(Read { texts, .. }) => all.extend(texts),
            Err(Problems(found)) => problems.extend(found),
        }
    }
    all.sort();
    all.dedup();
    let files = all.into_iter().map(|(place, text)| PlanFile { place, text }).collect();
    if problems.is_empty() { Ok(PlanRequest { files, delete }) } else { Err(Problems(problems)) }
}

fn table(report: &PlanReport) -> String {
    let mut documents = Table::new(["document", "what", "state", "place"]);
    for it in &report.documents {
        let line = if it.line > 0 { format!(":{}", it.line) } else { String::new() };
        let place = format!("{}{line}", it.place);
        documents.row([it.document.clone(), what(it.what).to_owned(), it.state.as_str().to_owned(), place]);
    }
    let mut text = documents.to_string();
    for PlannedDocument { document, reasons, .. } in
        report.documents.iter().filter(|it| !it.reasons.is_empty())
    {
        text.push_str(&format!("\n{document}:\n"));
        reasons.iter().for_each(|why| text.push_str(&format!("  {}\n", plain(why))));
    }
    if report.documents.iter().any(|it| it.state == Standing::Rejected) {
        text.push_str("\nwhat is rejected is left out of the plan\n");
    }
    for group in &report.groups {
        text.push_str(&format!("\n{}:\n", plain(&who(group))));
        let mut changes = Table::new(["type", "name", "change", "of"]);
        for it in &group.changes {
            changes.row([it.kind.clone(), it.name.clone(), word(it.change).to_owned(), it.origin.clone()]);
        }
        text.push_str(&changes.to_string());
        if group.more > 0 {
            text.push_str(&format!("and {} more\n", group.more));
        }
    }
    let rest = match (report.groups.is_empty(), report.unchanged) {
        (true, 0) => "nothing would change".to_owned(),
        (true, count) => format!("nothing would change for the {count} connected proxies"),
        (false, 0) => return text,
        (false, count) => format!("nothing would change for {count} others"),
    };
    format!("{text}\n{rest}\n")
}

/// `3 proxies (router): a, b, c`.
fn who(group: &PlannedGroup) -> String {
    let PlannedGroup { scope, count, proxies, .. } = group;
    if *count == 0 {
        return format!("a proxy that says nothing of itself ({scope}); none is connected");
    }
    let more = if *count > proxies.len() { ", ..." } else { "" };
    let noun = if *count == 1 { "proxy" } else { "proxies" };
    format!("{count} {noun} ({scope}): {}{more}", proxies.join(", "))
}

fn what(what: PlannedAs) -> &'static str {
    match what {
        PlannedAs::New => "new",
        PlannedAs::Changed => "changed",
        PlannedAs::Same => "the same",
        PlannedAs::Deleted => "deleted",
    }
}

fn word(change: ChangeKind) -> &'static str {
    match change {
        ChangeKind::Added => "added",
        ChangeKind::Changed => "changed",
        ChangeKind::Removed => "removed",
    }
}

/// The plan with diffs in place of resources.
#[derive(Serialize)]
struct Diffed<'a> {
    ok: bool,
    documents: &'a [PlannedDocument],
    groups: Vec<DiffedGroup<'a>>,
    unchanged: usize,
}

#[derive(Serialize)]
struct DiffedGroup<'a> {
    scope: &'a str,
    count: usize,
    proxies: &'a [String],
    changes: Vec<DiffedChange<'a>>,
    more: usize,
}

#[derive(Serialize)]
struct DiffedChange<'a> {
    kind: &'a str,
    name: &'a str,
    change: ChangeKind,
    origin: &'a str,
    diff: String,
}

impl<'a> Diffed<'a> {
    fn of(report: &'a PlanReport) -> Self {
        let groups = report.groups.iter().map(|group| DiffedGroup {
            scope: &group.scope,
            count: group.count,
            proxies: &group.proxies,
            changes: group
                .changes
                .iter()
                .map(|it| DiffedChange {
                    kind: &it.kind,
                    name: &it.name,
                    change: it.change,
                    origin: &it.origin,
                    diff: diff::of(it.before.as_ref(), it.after.as_ref()),
                })
                .collect(),
            more: group.more,
        });
        Self {
            ok: report.ok,
            documents: &report.documents,
            groups: groups.collect(),
            unchanged: report.unchanged,
        }
    }
}
