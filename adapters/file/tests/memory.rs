//! What reading a large file takes. Alone in its program: the system counts the memory of a whole process.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;

use pilot_registry_file::{Config, load};
use serde_json::{Value, json};

/// How many times its own size a file may take while it is read. Its text and its services take about 12
/// times as much as these texts; with a tree of everything it would be 24 (JSON), 33 (YAML), 53 (TOML).
const FACTOR: usize = 18;

#[test]
fn a_file_is_not_held_as_a_tree() {
    let folder = tempfile::tempdir().unwrap();
    let before = peak();
    for format in ["toml", "yaml", "json"] {
        let file = folder.path().join(format!("services.{format}"));
        fs::write(&file, text(format)).unwrap();
        let size = usize::try_from(fs::metadata(&file).unwrap().len()).unwrap();
        let loaded = load(&Config::new(&file));
        assert_eq!((loaded.services.len(), loaded.problems.len()), (1000, 0), "{format}");
        let took = peak() - before;
        assert!(took < FACTOR * size, "{format}: {took} bytes for a file of {size}");
    }
}

/// The most memory that this process has had, in bytes.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    1024 * line.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
}

/// Written service by service: a tree of everything would count here, too.
fn text(format: &str) -> String {
    let services = (0..1000).map(|number| service(number).to_string());
    match format {
        "toml" => (0..1000).map(|number| toml_of(&service(number))).collect(),
        "yaml" => services.fold("service:\n".to_owned(), |text, service| text + "- " + &service + "\n"),
        _ => format!("{{\"service\": [{}]}}", services.collect::<Vec<_>>().join(",\n")),
    }
}

fn toml_of(service: &Value) -> String {
    let key = |(key, value): (&String, &Value)| {
        // The tables in them are small enough for a line each.
        format!("{key} = {}\n", value.to_string().replace("\":", "\" = "))
    };
    let keys: String = service.as_object().unwrap().iter().map(key).collect();
    format!("[[service]]\n{keys}\n")
}

fn service(number: usize) -> Value {
    let endpoint = |own: usize| {
        json!({
            "address": format!("10.{}.{}.{own}", number / 256, number % 256),
            "labels": {"version": "v1"},
            "ports": {"80": 8080},
            "weight": 2,
            "zone": "a",
        })
    };
    json!({
        "host": format!("s{number}.local"),
        "ports": [{"port": 80, "protocol": "http"}],
        "endpoints": (1..=20).map(endpoint).collect::<Vec<_>>(),
    })
}
