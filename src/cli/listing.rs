//! Verbs that list what a running pilot knows: one table, shown once or whenever it changes.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::{Question, Target};
use super::output::{OutputFormat, line, print, write_out};
use super::{Global, Table, block_on};

/// How often a running pilot is asked whether something has changed.
const INTERVAL: Duration = Duration::from_secs(1);

/// The arguments of verbs that list, to take with `#[command(flatten)]`.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Listing {
    /// How to show it.
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "table")]
    format: ListingFormat,
    /// Show the rows of the table and nothing else: no headings, and no notes below it.
    #[arg(long)]
    no_headers: bool,
    /// Show the table, and then each row that is new or has changed, until Ctrl-C. Of a row that is gone, its
    /// name and (gone).
    #[arg(short = 'w', long)]
    watch: bool,
}

/// How to show a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ListingFormat {
    /// Columns, for people.
    Table,
    /// More columns.
    Wide,
    /// JSON, indented.
    Json,
    /// YAML.
    Yaml,
}

/// What of a list is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// More columns.
    pub(super) wide: bool,
}

/// A list for people.
#[derive(Debug, Default)]
pub(super) struct ListView {
    /// What stands above the table, with its line ends.
    pub(super) head: String,
    /// The first cell of a row is the name of what it is about.
    pub(super) table: Table,
    /// What stands below the table.
    pub(super) notes: String,
    /// Headings of columns that differ from one look to the next though nothing has changed.
    pub(super) passing: &'static [&'static str],
}

impl From<Table> for ListView {
    fn from(table: Table) -> Self {
        Self { table, ..Self::default() }
    }
}

impl Listing {
    /// Whether something else is asked for than what comes unless it is.
    pub(super) fn is_said(&self) -> bool {
        self.watch || self.no_headers || self.format != ListingFormat::Table
    }

    /// Asks, and shows the answer; with --watch again and again.
    ///
    /// # Errors
    /// pilot does not answer, or has no answer.
    pub(super) fn show<T: Serialize + DeserializeOwned>(
        self,
        global: &Global,
        target: &Target,
        question: &Question,
        view: impl Fn(&T, Style) -> ListView,
    ) -> anyhow::Result<ExitCode> {
        let Self { format, no_headers, watch } = self;
        let style = Style { wide: format == ListingFormat::Wide };
        let document = match format {
            ListingFormat::Table | ListingFormat::Wide => None,
            ListingFormat::Json => Some(OutputFormat::Json),
            ListingFormat::Yaml => Some(OutputFormat::Yaml),
        };
        if watch && document.is_some() {
            bail!("--watch shows the rows of a table: leave it out, or -o");
        }
        let report: T = target.ask(global, question)?;
        if let Some(document) = document {
            return print(&document.render(&report, |_| String::new())?);
        }
        let first = view(&report, style);
        if watch {
            let ask = || target.ask(global, question).map(|report: T| view(&report, style));
            return follow(first, no_headers, ask);
        }
        let widths = first.table.widths();
        match (no_headers, first.table.rows()) {
            (true, []) => Ok(ExitCode::SUCCESS),
            (true, rows) => print(&rows.iter().map(|row| line(row, &widths)).collect::<String>()),
            (false, _) => print(&format!("{}{}{}", first.head, first.table, first.notes)),
        }
    }
}

/// Shows what changes, for as long as somebody reads it.
fn follow(
    first: ListView,
    no_headers: bool,
    ask: impl Fn() -> anyhow::Result<ListView>,
) -> anyhow::Result<ExitCode> {
    let mut shown = Shown::default();
    let mut text = shown.update(&first);
    if !no_headers {
        text.insert_str(0, &line(first.table.headings(), &shown.widths));
    }
    let mut failed = None;
    loop {
        if !text.is_empty() && !write_out(&text)? {
            return Ok(ExitCode::SUCCESS);
        }
        block_on(async {
            tokio::time::sleep(INTERVAL).await;
            Ok(())
        })?;
        text = match ask() {
            Ok(view) => {
                failed = None;
                shown.update(&view)
            }
            Err(error) => {
                // Said once, not each second.
                let why = format!("{error:#}");
                if failed.as_ref() != Some(&why) {
                    eprintln!("warning: {why}: asking again");
                }
                failed = Some(why);
                String::new()
            }
        };
    }
}

/// What a reader has seen.
#[derive(Debug, Default)]
struct Shown {
    /// Columns only get wider, so that rows stay below each other.
    widths: Vec<usize>,
    /// The rows, without what is passing.
    rows: BTreeSet<Vec<String>>,
}

impl Shown {
    /// The lines that are new to the reader.
    fn update(&mut self, view: &ListView) -> String {
        let headings = view.table.headings();
        for (column, width) in view.table.widths().into_iter().enumerate() {
            match self.widths.get_mut(column) {
                Some(known) => *known = width.max(*known),
                None => self.widths.push(width),
            }
        }
        let lasting = |row: &[String]| -> Vec<String> {
            let cells = row.iter().zip(headings);
            let lasting = cells.filter(|(_, heading)| !view.passing.contains(&heading.as_str()));
            lasting.map(|(cell, _)| cell.clone()).collect()
        };
        let rows: BTreeSet<Vec<String>> = view.table.rows().iter().map(|row| lasting(row)).collect();
        let name = |row: &Vec<String>| row.first().cloned();
        let names: BTreeSet<Option<String>> = rows.iter().map(name).collect();
        let gone: BTreeSet<Option<String>> =
            self.rows.iter().map(name).filter(|name| !names.contains(name)).collect();
        let news = view.table.rows().iter().filter(|row| !self.rows.contains(&lasting(row)));
        let news: String = news.map(|row| line(row, &self.widths)).collect();
        let gone = gone.into_iter().flatten().map(|name| line(&[name, "(gone)".into()], &self.widths));
        let text = gone.collect::<String>() + &news;
        self.rows = rows;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(rows: &[[&str; 3]]) -> ListView {
        let mut table = Table::new(["host", "age", "ports"]);
        rows.iter().for_each(|row| table.row(row.map(str::to_owned)));
        ListView { passing: &["AGE"], ..ListView::from(table) }
    }

    #[test]
    fn only_rows_that_are_new_or_changed_are_shown_again() {
        let mut shown = Shown::default();
        assert_eq!(
            shown.update(&view(&[["a", "1s", "80"], ["b", "1s", "80"]])),
            "a     1s   80\nb     1s   80\n"
        );
        assert_eq!(shown.update(&view(&[["a", "2s", "80"], ["b", "2s", "80"]])), "");
        assert_eq!(shown.update(&view(&[["a", "3s", "81"], ["b", "3s", "80"]])), "a     3s   81\n");
        assert_eq!(
            shown.update(&view(&[["b", "4s", "80"], ["longer", "4s", "1"]])),
            "a       (gone)\nlonger  4s   1\n"
        );
        assert_eq!(shown.update(&view(&[["b", "5s", "82"], ["longer", "4s", "1"]])), "b       5s   82\n");
    }
}
