//! What the demo shows while it runs: a table that is drawn anew on a terminal, else a line each second.

use std::collections::BTreeMap;
use std::io::Write;

use super::tally::{Row, Tally, WINDOW};

/// Standard output.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: bool,
    /// The lines of the table that is there.
    drawn: usize,
    seconds: u64,
    told: Vec<String>,
}

impl Screen {
    /// Nothing is shown yet.
    pub(super) fn new() -> Self {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
        Self { terminal, drawn: 0, seconds: 0, told: Vec::new() }
    }

    /// Shows a text once.
    pub(super) fn say(&mut self, text: &str) -> std::io::Result<()> {
        self.drawn = 0;
        write(&format!("{text}\n"))
    }

    /// Shows how it stands. To be called each second.
    pub(super) fn show(&mut self, tally: &Tally, notes: &[String]) -> std::io::Result<()> {
        self.seconds += 1;
        if self.terminal {
            let table = table(tally, notes);
            let back = if self.drawn > 0 { format!("\x1b[{}A\x1b[J", self.drawn) } else { String::new() };
            self.drawn = table.len();
            // A line that is too long is cut off, not wrapped: the way back up counts lines.
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

/// A line for each backend with the whole window.
fn table(tally: &Tally, notes: &[String]) -> Vec<String> {
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
    lines.extend(notes.iter().map(|note| format!("  note: {note}")));
    if lines.len() > LINES_MAX {
        let more = lines.split_off(LINES_MAX).len();
        lines.push(format!("  ... and {more} lines more"));
    }
    lines.push(format!(
        "  last {WINDOW} seconds; in all {} answered, {} failed",
        tally.answered, tally.failed
    ));
    lines
}

const FAILED: &str = "FAILED ";
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
        assert_eq!(table(&tally(), &["careful".into()]), expected);
        let long = table(&tally(), &vec!["careful".to_owned(); 100]);
        assert_eq!((long.len(), long[20].as_str()), (22, "  ... and 84 lines more"));
    }
}
