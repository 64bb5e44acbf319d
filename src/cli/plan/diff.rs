//! How two values differ, line by line of their YAML.

use serde_json::Value;

/// So many lines stand around each change.
const CONTEXT: usize = 2;
/// Of more lines than this, all of what was and all of what is stands there: a diff costs their product.
const LINES_MAX: usize = 2000;

/// A line of a diff.
#[derive(Clone, Copy)]
enum Line<'a> {
    Same(&'a str),
    Gone(&'a str),
    New(&'a str),
}

/// The lines that differ, with `-` and `+` before them, and some around these. `None` = there is nothing.
pub(super) fn of(before: Option<&Value>, after: Option<&Value>) -> String {
    let yaml =
        |value: Option<&Value>| value.and_then(|it| serde_saphyr::to_string(it).ok()).unwrap_or_default();
    let (before, after) = (yaml(before), yaml(after));
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let lines = lines(&old, &new);
    let is_near = |at: usize| {
        let around = at.saturating_sub(CONTEXT)..(at + CONTEXT + 1).min(lines.len());
        lines[around].iter().any(|line| !matches!(line, Line::Same(_)))
    };
    let mut text = String::new();
    let mut is_cut = false;
    for (at, line) in lines.iter().enumerate() {
        if !is_near(at) {
            is_cut = true;
            continue;
        }
        if std::mem::take(&mut is_cut) {
            text.push_str("...\n");
        }
        let (sign, line) = match line {
            Line::Same(line) => (' ', line),
            Line::Gone(line) => ('-', line),
            Line::New(line) => ('+', line),
        };
        text.push_str(format!("{sign} {line}").trim_end());
        text.push('\n');
    }
    text
}

/// The longest common subsequence, and what is between.
fn lines<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let whole =
        || old.iter().map(|line| Line::Gone(line)).chain(new.iter().map(|line| Line::New(line))).collect();
    if old.len() > LINES_MAX || new.len() > LINES_MAX {
        return whole();
    }
    // How long the longest one is of what follows.
    let width = new.len() + 1;
    let mut longest = vec![0u32; (old.len() + 1) * width];
    for (i, one) in old.iter().enumerate().rev() {
        for (j, other) in new.iter().enumerate().rev() {
            longest[i * width + j] = match one == other {
                true => longest[(i + 1) * width + j + 1] + 1,
                false => longest[(i + 1) * width + j].max(longest[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push(Line::Same(old[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < old.len()
            && (j == new.len() || longest[(i + 1) * width + j] >= longest[i * width + j + 1])
        {
            lines.push(Line::Gone(old[i]));
            i += 1;
        } else {
            lines.push(Line::New(new[j]));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_that_differ_are_shown_with_those_around_them() {
        let value =
            |timeout: &str| json!({ "a": 1, "b": 2, "c": 3, "timeout": timeout, "u": 4, "v": 5, "w": 6 });
        let diff = of(Some(&value("5s")), Some(&value("2s")));
        assert_eq!(diff, "...\n  b: 2\n  c: 3\n- timeout: 5s\n+ timeout: 2s\n  u: 4\n  v: 5\n");
        assert_eq!(of(None, Some(&json!({ "a": 1 }))), "+ a: 1\n");
        assert_eq!(of(Some(&json!({ "a": 1 })), None), "- a: 1\n");
        assert_eq!(of(Some(&value("5s")), Some(&value("5s"))), "");
    }
}
