//! Keeps the arrows of ARCHITECTURE.md: which package may depend on which, and which file may know what.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "architecture/circles.rs"]
mod circles;
#[path = "architecture/names.rs"]
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the package may depend on, of our own packages, outside of its tests.
const ARROWS: [(&str, &[&str]); 10] = [
    ("pilot-registry", &[]),
    ("pilot-envoy-api", &[]),
    ("pilot-yaml", &[]),
    ("pilot-protoc", &[]),
    ("pilot-registry-consul", &["pilot-registry"]),
    ("pilot-registry-etcd", &["pilot-registry"]),
    ("pilot-registry-kubernetes", &["pilot-registry"]),
    ("pilot-registry-file", &["pilot-registry", "pilot-yaml"]),
    ("pilot-registry-testkit", &["pilot-registry"]),
    (
        "pilot",
        &[
            "pilot-envoy-api",
            "pilot-yaml",
            "pilot-registry",
            "pilot-registry-consul",
            "pilot-registry-etcd",
            "pilot-registry-file",
            "pilot-registry-kubernetes",
        ],
    ),
];

const ADAPTERS: [&str; 4] = ["consul", "etcd", "file", "kubernetes"];

/// Files of which every line is pure, and what the lines of none may name.
const PURE: [&str; 22] = [
    "src/catalog/guard/diff.rs",
    "src/translate.rs",
    "src/translate",
    "src/xds/answers.rs",
    "src/xds/client_copy.rs",
    "src/xds/composed.rs",
    "src/xds/delta.rs",
    "src/xds/in_flight.rs",
    "src/xds/machine",
    "src/xds/machine.rs",
    "src/xds/names.rs",
    "src/xds/order",
    "src/xds/order.rs",
    "src/xds/rejections.rs",
    "src/xds/ropes.rs",
    "src/xds/shared.rs",
    "src/xds/sotw.rs",
    "src/xds/subscription.rs",
    "src/xds/trials.rs",
    "src/xds/type_state.rs",
    "src/xds/names.rs",
    "src/resources/integrity.rs",
];
const IMPURE: [&str; 8] =
    ["tokio", "std::fs", "std::net::Tcp", "std::env", "mpsc", "Instant", "SystemTime", "HashMap"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn rust_files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let mut files: Vec<_> = std::fs::read_dir(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .flat_map(|entry| rust_files(&entry.unwrap().path()))
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    files
}

/// Lines that are code: no comments, and nothing that is for tests only.
fn code(file: &Path) -> Vec<(usize, String)> {
    code_of(&std::fs::read_to_string(file).unwrap())
}

fn code_of(text: &str) -> Vec<(usize, String)> {
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    let mut code = Vec::new();
    while let Some((at, line)) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            // As rustfmt writes it, an item ends where it began, with `;`, `}` or `,`.
            let is_last =
                |(_, last): &(usize, &str)| indent(last) == indent(line) && last.ends_with([';', '}', ',']);
            lines.find(is_last);
        } else if !line.trim_start().starts_with("//") {
            code.push((at, line.to_owned()));
        }
    }
    code
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[test]
fn what_is_for_tests_only_is_no_code_and_what_follows_it_is() {
    let text = "use a;\n#[cfg(test)]\nmod tests;\nuse b;\nimpl C {\n    #[cfg(test)]\n    fn d() {\n        e();\n    }\n\
                // f\n}\n#[cfg(test)]\n#[path = \"g.rs\"]\nuse g::{\n    g,\n};\nuse h;\n#[cfg(test)]\nmod tests {\n    use i;\n}\n";
    let lines: Vec<String> = code_of(text).into_iter().map(|(_, line)| line).collect();
    assert_eq!(lines, ["use a;", "use b;", "impl C {", "}", "use h;"]);
}

#[test]
fn packages_depend_only_along_the_arrows() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let own: BTreeSet<&str> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    assert_eq!(own, arrows.keys().copied().collect(), "ARROWS says what each package may depend on");
    for package in packages {
        let name = package["name"].as_str().unwrap();
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = dependency["name"].as_str().unwrap();
            let for_tests = dependency["kind"] == "dev";
            let allowed = arrows[name].contains(&to) || (for_tests && to == "pilot-registry-testkit");
            assert!(!own.contains(to) || allowed, "{name} must not depend on {to}");
        }
    }
}

#[test]
fn the_model_knows_no_transport() {
    let manifest = std::fs::read_to_string(root().join("adapters/registry/Cargo.toml")).unwrap();
    for transport in ["tonic", "hyper", "prost", "http"] {
        assert!(
            !manifest.lines().any(|line| line.starts_with(transport)),
            "pilot-registry needs no {transport}"
        );
    }
}

#[test]
fn only_the_composition_root_names_adapters() {
    let may = |file: &Path| {
        ["src/registries.rs", "src/registries/inspect.rs", "src/config/entry.rs", "src/config/rules.rs"]
            .iter()
            .any(|it| file.ends_with(it))
    };
    for file in rust_files(&root().join("src")).into_iter().filter(|file| !may(file)) {
        for (line, text) in code(&file) {
            let adapter = ADAPTERS.iter().find(|kind| text.contains(&format!("pilot_registry_{kind}")));
            assert_eq!(adapter, None, "{}:{line} names an adapter", file.display());
        }
    }
}

#[test]
fn pure_files_know_no_time_no_io_and_no_random_order() {
    for path in PURE {
        for file in rust_files(&root().join(path)) {
            for (line, text) in code(&file) {
                for word in IMPURE {
                    assert!(!text.contains(word), "{}:{line} uses {word}: {text}", file.display());
                }
            }
        }
    }
}

#[test]
fn adapters_have_no_retry_loop_of_their_own_and_spawn_no_stray_task() {
    for adapter in ADAPTERS {
        for file in rust_files(&root().join("adapters").join(adapter).join("src")) {
            for (line, text) in code(&file) {
                let stray = text.contains("tokio::spawn(") || text.contains("thread::spawn(");
                assert!(!stray, "{}:{line}: a task has an owner", file.display());
            }
        }
    }
}

#[test]
fn registering_knows_no_command_line_and_prints_nothing() {
    let files = rust_files(&root().join("src/register"));
    for file in files.into_iter().chain([root().join("src/register.rs")]) {
        for (line, text) in code(&file) {
            for word in ["clap", "crate::cli", "println!", "std::env::args"] {
                assert!(!text.contains(word), "{}:{line} uses {word}: {text}", file.display());
            }
        }
    }
}
