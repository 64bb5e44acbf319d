//! What the pages have to show is there: every key of a services file, every verb, every metric by a name that exists.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::metrics::series;
use crate::pages::{below, read};
use crate::support::shell::Shell;
use crate::support::snippets::snippets;

#[test]
fn every_key_of_a_services_file_is_shown() {
    let page = "docs/services-file.md";
    let shown: String =
        snippets(page).into_iter().filter(|it| it.language == "toml").map(|it| it.text).collect();
    let schema: Value = serde_json::from_str(&Shell::new().succeeds("pilot schema services")).unwrap();
    for definition in ["Service", "Port", "Endpoint"] {
        let keys = schema["$defs"][definition]["properties"].as_object().unwrap();
        for key in keys.keys() {
            assert!(shown.contains(&format!("{key} = ")), "{page} shows no {key} of {definition}");
        }
    }
}

#[test]
fn every_protocol_has_its_row() {
    let schema: Value = serde_json::from_str(&Shell::new().succeeds("pilot schema services")).unwrap();
    let page = read("docs/protocols.md");
    let text = schema.to_string();
    for protocol in ["http", "http2", "grpc", "tls", "tcp", "mongo", "redis", "udp"] {
        assert!(text.contains(&format!("\"{protocol}\"")), "{protocol} is no protocol any more");
        assert!(page.contains(&format!("| `{protocol}` |")), "docs/protocols.md has no row of {protocol}");
    }
}

#[test]
fn metrics_that_are_named_exist() {
    let known = series();
    let mut files = below("docs/");
    files.extend(["README.md", "deploy/alerts.yml", "deploy/grafana.json"].map(str::to_owned));
    let mut wrong = BTreeSet::new();
    for file in files {
        for name in named(&read(&file)) {
            if !known.contains(&name) {
                wrong.insert(format!("{file}: {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What looks like the name of a series. A crate or a cluster of that form is none.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let prefixes = ["pilot_", "process_"];
    let looks = words.filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix)));
    looks.map(str::to_owned).collect()
}

/// What README.md shows of the demo was recorded: it is in the picture, but for the counts.
#[test]
fn demo_looks_as_readme_shows_it() {
    let picture = read("docs/demo.svg");
    let shown =
        snippets("README.md").into_iter().filter(|it| it.language == "text" && it.text.contains("####"));
    let lines: Vec<String> =
        shown.flat_map(|it| it.text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    assert!(lines.len() >= 3, "{lines:?}");
    for line in lines {
        let row = line.trim_end_matches('#').trim_end();
        let row = row.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end();
        assert!(picture.contains(row), "docs/demo.svg has no {row:?}");
    }
}
