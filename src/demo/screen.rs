//! What the demo shows while it runs: a table that is drawn anew on a terminal, else a line each second.

use std::collections::BTreeMap;
use std::io::Write;

use terminal_size::{Height, Width, terminal_size};

use super::tally::{Row, Tally, WINDOW};

/// Standard output.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: bool,
    /// The lines of the table that is there.
    drawn: usize,
    /// What stands above it.
    said: String,
    size: Size,
    seconds: u64,
    told: Vec<String>,
}

/// How much a terminal shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    columns: usize,
    lines: usize,
}

impl Size {
    /// That of standard output, or the usual one.
    fn now() -> Self {
        let (Width(columns), Height(lines)) = terminal_size().unwrap_or((Width(80), Height(24)));
        Self { columns: columns.into(), lines: lines.into() }
    }
}

impl Screen {
    /// Nothing is shown yet.
    pub(super) fn new() -> Self {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
        Self { terminal, drawn: 0, said: String::new(), size: Size::now(), seconds: 0, told: Vec::new() }
    }

    /// Shows a text once.
    pub(super) fn say(&mut self, text: &str) -> std::io::Result<()> {
        self.drawn = 0;
        text.clone_into(&mut self.said);
        write(&format!("{text}\n"))
    }

    /// Shows the last text. The terminal itself has written `^C` at the start of the line, perhaps.
    pub(super) fn end(&mut self, text: &str) -> std::io::Result<()> {
        write(&format!("{}{text}\n", if self.terminal { "\n" } else { "" }))
    }

    /// Shows how it stands. To be called each second.
    pub(super) fn show(&mut self, tally: &Tally, notes: &[String]) -> std::io::Result<()> {
        self.seconds += 1;
        if self.terminal {
            let size = Size::now();
            let table = table(tally, notes, size);
            let back = if self.size != size {
                // The terminal has wrapped or moved what was there.
                format!("\x1b[2J\x1b[H{}\n", self.said)
            } else if self.drawn > 0 {
                format!("\x1b[{}A\x1b[J", self.drawn)
            } else {
                String::new()
            };
            (self.drawn, self.size) = (table.len(), size);
            // The way back up counts lines: the terminal is not to wrap them.
            return write(&format!("{back}\x1b[?7l{}\n\x1b[?7h", table.join("\n")));
        }
        let mut text = String::new();
        for note in notes.iter().filter(|note| !self.told.contains(note)) {
            text.push_str(&format!("note: {note}\n"));
        }
        self.told = notes.to_vec();
        text.push_str(&line(self.seconds, tally));
        write(&text)
    }
}

fn write(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// One line with the last second.
fn line(seconds: u64, tally: &Tally) -> String {
    let mut parts: Vec<String> =
        tally.rows(1).iter().map(|row| format!("{}: {}", row.target, counts(row))).collect();
    parts.push(format!("{} failed", tally.failed));
    format!("{seconds:>4}s  {}\n", parts.join(" | "))
}

fn counts(row: &Row) -> String {
    let answers = row.answers.iter().filter(|(_, count)| **count > 0);
    let answers = answers.map(|(backend, count)| format!("{backend} x{count}"));
    let failures = row.failures.iter().map(|(why, count)| format!("FAILED {why} x{count}"));
    let all: Vec<String> = answers.chain(failures).collect();
    if all.is_empty() { "-".into() } else { all.join(", ") }
}

/// A line for each backend with the whole window, as it fits the terminal.
fn table(tally: &Tally, notes: &[String], size: Size) -> Vec<String> {
    let rows = tally.rows(WINDOW);
    let width = |of: &dyn Fn(&Row) -> usize| rows.iter().map(of).max().unwrap_or(0);
    let target_width = width(&|row| row.target.chars().count());
    let longest = |map: &BTreeMap<String, u64>| map.keys().map(|key| key.chars().count()).max().unwrap_or(0);
    let backend_width = width(&|row| longest(&row.answers).max(longest(&row.failures) + FAILED.len()));
    let mut lines = Vec::new();
    for row in &rows {
        let answers = row.answers.iter().map(|(backend, count)| (backend.clone(), *count));
        let failures = row.failures.iter().map(|(why, count)| (format!("{FAILED}{why}"), *count));
        let mut cells: Vec<(String, u64)> = answers.chain(failures).collect();
        if cells.is_empty() {
            cells.push(("-".into(), 0));
        }
        for (at, (backend, count)) in cells.iter().enumerate() {
            let target = if at == 0 { row.target.as_str() } else { "" };
            let bar = "#".repeat(usize::try_from(*count).unwrap_or(0).min(BAR_MAX));
            lines.push(format!("  {target:target_width$}  {backend:backend_width$}  {count:>4}  {bar}"));
        }
    }
    lines.extend(notes.iter().flat_map(|note| wrapped(note, size.columns)));
    // Two lines come below, and the cursor's own.
    let lines_max = LINES_MAX.min(size.lines.saturating_sub(3).max(1));
    if lines.len() > lines_max {
        let more = lines.split_off(lines_max).len();
        lines.push(format!("  ... and {more} lines more"));
    }
    lines.push(format!(
        "  last {WINDOW} seconds; in all {} answered, {} failed",
        tally.answered, tally.failed
    ));
    lines.iter().map(|line| cut(line, size.columns)).collect()
}

/// A note on as many lines as it needs, broken between words.
fn wrapped(note: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::from(NOTE);
    for word in note.split_whitespace() {
        if line.len() > NOTE.len() && line.chars().count() + 1 + word.chars().count() > columns {
            lines.push(std::mem::replace(&mut line, " ".repeat(NOTE.len())));
        } else if line.len() > NOTE.len() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// As much of a line as fits.
fn cut(line: &str, columns: usize) -> String {
    if line.chars().count() <= columns {
        return line.to_owned();
    }
    line.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}

const FAILED: &str = "FAILED ";
const NOTE: &str = "  note: ";
const BAR_MAX: usize = 30;
/// The table stays smaller than the usual terminal, which else could not be drawn anew.
const LINES_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn tally() -> Tally {
        let now = Instant::now();
        let mut tally = Tally::default();
        tally.follow(&["a:1".to_owned(), "long:1 (tcp)".to_owned()].into(), now);
        tally.count("a:1", Ok("v1 at 127.0.0.1:9181".into()), now);
        tally.count("a:1", Ok("v2 at 127.0.0.1:9182".into()), now);
        tally.count("a:1", Ok("v2 at 127.0.0.1:9182".into()), now);
        tally.count("a:1", Err("503 Service Unavailable".into()), now);
        tally
    }

    #[test]
    fn programs_read_a_line() {
        assert_eq!(
            line(7, &tally()),
            "   7s  a:1: v1 at 127.0.0.1:9181 x1, v2 at 127.0.0.1:9182 x2, FAILED 503 Service Unavailable x1 \
             | long:1 (tcp): - | 1 failed\n"
        );
    }

    #[test]
    fn people_read_a_table() {
        let expected = [
            "  a:1           v1 at 127.0.0.1:9181               1  #",
            "                v2 at 127.0.0.1:9182               2  ##",
            "                FAILED 503 Service Unavailable     1  #",
            "  long:1 (tcp)  -                                  0  ",
            "  note: careful",
            "  last 5 seconds; in all 3 answered, 1 failed",
        ];
        let size = Size { columns: 80, lines: 24 };
        assert_eq!(table(&tally(), &["careful".into()], size), expected);
        let notes = vec!["careful".to_owned(); 100];
        let long = table(&tally(), &notes, size);
        assert_eq!((long.len(), long[20].as_str()), (22, "  ... and 84 lines more"));
        assert_eq!(table(&tally(), &notes, Size { lines: 10, ..size }).len(), 9);
    }

    #[test]
    fn narrow_terminals_get_all_of_a_note_and_what_fits_of_a_backend() {
        let note = "services.toml:3:8: unknown key: its last good version stays in force".to_owned();
        let table = table(&tally(), &[note], Size { columns: 40, lines: 24 });
        let expected = [
            "  a:1           v1 at 127.0.0.1:9181   …",
            "                v2 at 127.0.0.1:9182   …",
            "                FAILED 503 Service Unav…",
            "  long:1 (tcp)  -                      …",
            "  note: services.toml:3:8: unknown key:",
            "        its last good version stays in",
            "        force",
            "  last 5 seconds; in all 3 answered, 1 …",
        ];
        assert_eq!(table, expected);
    }
}
