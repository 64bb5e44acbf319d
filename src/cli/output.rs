//! How verbs show what they found: a table for people, JSON or YAML for programs.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

/// The argument `-o`, for verbs to take with `#[command(flatten)]`.
#[derive(Clone, Copy, Debug, Args)]
pub struct Output {
    /// How to show it.
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "table")]
    pub format: OutputFormat,
}

/// How to show what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Columns, for people.
    Table,
    /// JSON, indented.
    Json,
    /// YAML.
    Yaml,
}

impl OutputFormat {
    /// The value in this format; `table` writes it for people.
    ///
    /// # Errors
    /// The value cannot be written, for example a map whose keys are not strings.
    pub fn render<T: Serialize>(self, value: &T, table: impl FnOnce(&T) -> String) -> anyhow::Result<String> {
        Ok(match self {
            Self::Table => table(value),
            Self::Json => serde_json::to_string_pretty(value)?,
            Self::Yaml => serde_saphyr::to_string(value)?,
        })
    }
}

/// Writes to standard output, with a line's end. A reader that has seen enough (`| head`) is no error.
///
/// # Errors
/// It cannot be written.
pub fn print(text: &str) -> anyhow::Result<ExitCode> {
    write_out(text)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes to standard output, with a line's end. Tells whether somebody still reads it.
///
/// # Errors
/// It cannot be written.
pub(super) fn write_out(text: &str) -> anyhow::Result<bool> {
    let mut stdout = std::io::stdout().lock();
    let written =
        stdout.write_all(text.trim_end_matches('\n').as_bytes()).and_then(|()| stdout.write_all(b"\n"));
    match written.and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(anyhow::Error::new(error).context("standard output")),
    }
}

/// Rows under headings, each column as wide as its longest cell. Letters of some scripts are two columns wide.
#[derive(Clone, Debug, Default)]
pub struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { headings: headings.map(str::to_uppercase).to_vec(), rows: Vec::new() }
    }

    /// Adds a row, one cell for each heading. Control characters, which what others wrote may hold, are
    /// shown escaped.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        let shown = |cell: &String| if cell.is_empty() { "-".into() } else { plain(cell) };
        self.rows.push(cells.iter().map(shown).collect());
    }

    /// Adds columns to the right, with what [`Self::extend_row`] puts there.
    pub(super) fn extend<const N: usize>(&mut self, headings: [&str; N]) {
        self.headings.extend(headings.map(str::to_uppercase));
    }

    /// Adds cells to the right of the last row.
    pub(super) fn extend_row<const N: usize>(&mut self, cells: [String; N]) {
        let shown = |cell: &String| if cell.is_empty() { "-".into() } else { plain(cell) };
        if let Some(row) = self.rows.last_mut() {
            row.extend(cells.iter().map(shown));
        }
    }

    /// The headings.
    pub(super) fn headings(&self) -> &[String] {
        &self.headings
    }

    /// The rows, each with a cell for each heading.
    pub(super) fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }

    /// How wide the columns are: as wide as their longest cells.
    pub(super) fn widths(&self) -> Vec<usize> {
        (0..self.headings.len()).map(|column| self.width(column)).collect()
    }

    fn width(&self, column: usize) -> usize {
        let cells = std::iter::once(&self.headings).chain(&self.rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.width()).max().unwrap_or(0)
    }
}

/// A row of a table whose columns are at least so wide.
pub(super) fn line(row: &[String], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).map(|(cell, width)| {
        let padding = width.saturating_sub(cell.width());
        format!("{cell}{:padding$}", "")
    });
    let mut line = cells.collect::<Vec<_>>().join("  ").trim_end().to_owned();
    line.push('\n');
    line
}

/// A text in one line, in which control characters are shown escaped.
pub(super) fn plain(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    text.chars().map(escaped).collect()
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for row in std::iter::once(&self.headings).chain(&self.rows) {
            f.write_str(&line(row, &widths))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let mut table = Table::new(["host", "ports"]);
        table.row(["reviews.local".into(), "9080".into()]);
        table.row(["bücher".into(), String::new()]);
        table.row(["東京".into(), "80".into()]);
        table.row(["a\u{1b}[31m".into(), "1".into()]);
        let expected = "HOST           PORTS\n\
                        reviews.local  9080\n\
                        bücher         -\n\
                        東京           80\n\
                        a\\u{1b}[31m    1\n";
        assert_eq!(table.to_string(), expected);
    }
}
