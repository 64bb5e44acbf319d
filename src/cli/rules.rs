//! `pilot rules`: what became of the documents that a running pilot follows.

use std::collections::BTreeMap;
use std::process::ExitCode;

use super::client::{Question, Target};
use super::listing::{ListView, Listing, Style};
use super::{Global, Table};
use crate::admin::{DocumentReport, RulesReport, StoreReport};
use crate::rules::InForce;

/// Show what became of the rules that a running pilot follows
///
/// State is accepted; unused: nobody asks for it; dangling: it names a host, a subset, a gateway or a delegate that is not
/// there; conflicted: another document counts in its place; refused: proxies refuse it; rejected: it is wrong. Why stands below the table, with what
/// its author should know and what proxies refuse. In force is what counts of it: this version, the last good one, or nothing.
///
/// Example: pilot rules
///
/// As they change: pilot rules --watch
///
/// For programs: pilot rules -o json
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only documents whose name, or kind/namespace/name, or place in their store is this.
    name: Option<String>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    listing: Listing,
}

impl Args {
    /// Asks, and prints the answer.
    ///
    /// # Errors
    /// pilot does not answer, or has no document of that name.
    pub fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let Self { name, target, listing } = self;
        let question = Question::new("/debug/rules");
        let question = match name {
            Some(name) => question.with("name", &name),
            None => question,
        };
        listing.show(global, &target, &question, |report: &RulesReport, style| {
            let mut view = table(&report.documents, style);
            view.notes.insert_str(0, &troubles(&report.stores));
            if report.stores.is_empty() {
                view.notes.push_str(
                    "\nno store of rules is followed: pilot.toml has no table [rules.<name>.<kind>]\n",
                );
            }
            view
        })
    }
}

/// What is wrong with stores.
fn troubles(stores: &[StoreReport]) -> String {
    let mut text = String::new();
    for StoreReport { store, texts, held, troubles, skipped, .. } in stores {
        let silent = texts.is_none().then(|| "it has not answered".to_owned());
        let held = held
            .then(|| "all documents are gone at once: they stay until it has said so for a while".to_owned());
        let skipped = skipped.iter().map(|(entry, why)| format!("{entry}: {why}"));
        for line in silent.into_iter().chain(held).chain(troubles.iter().cloned()).chain(skipped) {
            text.push_str(&format!("\nstore {store}: {}\n", super::output::plain(&line)));
        }
    }
    text
}

fn table(documents: &[DocumentReport], style: Style) -> ListView {
    let mut table = Table::new(["document", "state", "in force", "place"]);
    if style.wide {
        table.extend(["store"]);
    }
    let mut notes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for document in documents {
        let place = match document.line {
            0 => document.place.clone(),
            line => format!("{}:{line}", document.place),
        };
        let name = if document.document.is_empty() { place.clone() } else { document.document.clone() };
        table.row([
            name.clone(),
            document.state.as_str().to_owned(),
            in_force(document.in_force).to_owned(),
            place.clone(),
        ]);
        if style.wide {
            table.extend_row([document.store.clone()]);
        }
        let refused = document.refused.iter().map(|words| format!("refused by proxies: {words}"));
        let all = document
            .reasons
            .iter()
            .cloned()
            .chain(refused)
            .chain(refused_by(&document.refused_by))
            .chain(document.warnings.iter().cloned());
        let heading = match (name == place, document.store.as_str()) {
            (true, store) => format!("{place} of {store}"),
            (false, store) => format!("{name} ({place} of {store})"),
        };
        notes.entry(heading).or_default().extend(all);
    }
    let mut text = String::new();
    for (document, lines) in notes.iter().filter(|(_, lines)| !lines.is_empty()) {
        text.push_str(&format!("\n{document}:\n"));
        lines.iter().for_each(|line| text.push_str(&format!("  {}\n", super::output::plain(line))));
    }
    ListView { notes: text, ..ListView::from(table) }
}

/// Who refuses something of a document, the first of many.
fn refused_by(proxies: &[String]) -> Option<String> {
    let named = proxies.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    match proxies.len() {
        0 => None,
        count @ ..=NAMED_MAX => Some(format!("refused by {count}: {named}")),
        count => Some(format!("refused by {count}: {named} and {} more", count - NAMED_MAX)),
    }
}

/// How many proxies are named.
const NAMED_MAX: usize = 5;

fn in_force(in_force: InForce) -> &'static str {
    match in_force {
        InForce::This => "this version",
        InForce::LastGood => "last good version",
        InForce::Nothing => "nothing",
    }
}
