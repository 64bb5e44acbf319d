//! Configuration, and one look at the files without serving.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::PathBuf;

use pilot_registry_file::{Config, Problem, load, registry};
use proptest::prelude::*;
use serde_json::json;

#[test]
fn configurations_that_make_no_sense_are_refused_by_key() {
    let good = Config::new("services.toml");
    assert!(registry(good.clone()).is_ok());
    for (config, key) in [
        (Config { path: PathBuf::new(), ..good.clone() }, "path"),
        (Config { max_file_bytes: 0, ..good.clone() }, "max_file_bytes"),
        (Config { max_files: 0, ..good.clone() }, "max_files"),
    ] {
        assert_eq!(registry(config).unwrap_err().key, key);
    }
    let read = |text: &str| toml::from_str::<Config>(text);
    assert_eq!(read("path = 'services.toml'").unwrap(), good);
    assert!(read("path = 'a'\nmax_size = 1").is_err());
}

#[test]
fn every_problem_is_told_with_its_place_and_the_rest_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let port = "ports = [{ port = 80, protocol = \"http\" }]";
    let text =
        format!("[[service]]\nhost = \"a.local\"\n{port}\n[[service]]\nhost = \"b b\"\nport = 1\n{port}\n");
    fs::write(folder.path().join("1.toml"), text).unwrap();
    fs::write(folder.path().join("2.json"), "{\"service\": [,]}").unwrap();
    fs::write(folder.path().join("3.yaml"), "service: [{host: a.local, ports: [{port: 1, protocol: tcp}]}]")
        .unwrap();
    let loaded = load(&Config::new(folder.path()));
    let hosts: Vec<_> = loaded.services.iter().map(|service| service.host.as_str()).collect();
    assert_eq!(hosts, ["a.local"]);
    let places: Vec<_> = loaded.problems.iter().map(place).collect();
    assert_eq!(
        places,
        [
            ("1.toml", Some(5), Some(8)),
            ("1.toml", Some(6), Some(1)),
            ("2.json", Some(1), Some(14)),
            ("3.yaml", Some(1), Some(18))
        ]
    );
    let text = loaded.problems[1].to_string();
    assert!(text.ends_with("1.toml:6:1: unknown key \"port\": did you mean \"ports\"?"), "{text}");
    let json = serde_json::to_value(&loaded.problems[1]).unwrap();
    assert_eq!((json["line"].as_u64(), json["column"].as_u64()), (Some(6), Some(1)));
}

fn place(problem: &Problem) -> (&str, Option<usize>, Option<usize>) {
    (problem.file.file_name().unwrap().to_str().unwrap(), problem.line, problem.column)
}

#[test]
fn a_missing_path_and_an_unknown_kind_of_file_are_problems() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("services.conf");
    let loaded = load(&Config::new(&file));
    assert_eq!(loaded.problems[0].message, "cannot be read: it does not exist");
    for (near, meant) in [("service.toml", "services.toml"), ("serivces.toml", "services.toml"), ("a", "")] {
        fs::write(folder.path().join("services.toml"), "service = []").unwrap();
        let loaded = load(&Config::new(folder.path().join(near)));
        let expected = match meant {
            "" => "cannot be read: it does not exist".to_owned(),
            name => format!("cannot be read: it does not exist; did you mean {name}?"),
        };
        assert_eq!(loaded.problems[0].message, expected, "{near}");
    }
    fs::remove_file(folder.path().join("services.toml")).unwrap();
    fs::write(&file, "service = []").unwrap();
    let loaded = load(&Config::new(&file));
    assert!(loaded.problems[0].message.contains("expected a name that ends in .toml, .yaml, .yml or .json"));
}

#[test]
fn large_files_are_read_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint =
        |number: usize| json!({"address": format!("10.0.0.{number}"), "labels": {"version": "v1"}});
    let document = |services: usize| {
        let service = |number: usize| {
            json!({
                "host": format!("s{number}.local"),
                "ports": [{"port": 80, "protocol": "http"}],
                "endpoints": (1..21).map(endpoint).collect::<Vec<_>>(),
            })
        };
        json!({"service": (0..services).map(service).collect::<Vec<_>>()})
    };
    // JSON is one long line here. As YAML it is more than that parser's own limits would take.
    for (name, services, text) in [
        ("a.json", 1000, document(1000).to_string()),
        ("a.yaml", 2000, document(2000).to_string()),
        ("a.toml", 1000, toml::to_string(&document(1000)).unwrap()),
    ] {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        let loaded = load(&Config::new(&file));
        assert_eq!(loaded.problems, []);
        let endpoints: usize = loaded.services.iter().map(|service| service.endpoints.len()).sum();
        assert_eq!((loaded.services.len(), endpoints), (services, 20 * services), "{name}");
    }
}

/// A text near enough to a services file to get past the parsers, and often wrong.
fn nearly_toml() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("\"a.local\"".to_owned()),
        Just("[{ port = 80, protocol = \"http\" }]".to_owned()),
        Just("[{ address = \"[::1]:80\", ports = { 80 = 0 } }]".to_owned()),
        "\"[a-z:\\[\\].0-9/ü ]{0,12}\"".prop_map(|address| format!("[{{ address = {address} }}]")),
        any::<i64>().prop_map(|number| number.to_string()),
        "[\\[\\]{}\",=a-z0-9 ]{0,12}",
    ];
    let key = prop::sample::select(vec!["host", "ports", "endpoints", "labels", "weight"]);
    let line = (key, value).prop_map(|(key, value)| format!("{key} = {value}\n"));
    prop::collection::vec(line, 0..6).prop_map(|lines| format!("[[service]]\n{}", lines.concat()))
}

proptest! {
    /// Whatever a file says, it is read without a panic, and a text that gives nothing says why.
    #[test]
    fn any_text_gives_services_or_problems(
        text in prop_oneof![any::<String>(), nearly_toml(), "[\\[\\]{}\":,&*\\-a-z0-9\n ]{0,60}"],
        name in prop::sample::select(vec!["a.toml", "a.yaml", "a.json"]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        fs::write(&file, &text).unwrap();
        let loaded = load(&Config::new(&file));
        let says_empty = text.contains("service");
        prop_assert!(!loaded.problems.is_empty() || !loaded.services.is_empty() || says_empty, "{text:?}");
        for problem in &loaded.problems {
            let (line, column) = (problem.line.unwrap(), problem.column.unwrap());
            prop_assert!(line >= 1 && column >= 1 && line <= text.lines().count() + 1, "{problem}");
        }
    }
}
