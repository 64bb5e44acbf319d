//! The files of deploy/ are taken by the programs that read them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::pages::{below, read, root};
use crate::support::snippets::snippets;
use crate::support::tools::skipped;

/// Prometheus' checker: the one that PILOT_TEST_PROMTOOL names, or the one on PATH.
fn promtool() -> Option<PathBuf> {
    let named = std::env::var_os("PILOT_TEST_PROMTOOL").map(PathBuf::from);
    let program = named.unwrap_or_else(|| "promtool".into());
    if Command::new(&program).arg("--version").output().is_ok() {
        return Some(program);
    }
    skipped("promtool is needed: Debian has it in the package prometheus, PILOT_TEST_PROMTOOL names it");
    None
}

#[test]
fn prometheus_takes_the_alerts() {
    let alerts: Value = serde_saphyr::from_str(&read("deploy/alerts.yml")).unwrap();
    let rules =
        alerts["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    let rules: Vec<_> = rules.collect();
    assert!(rules.len() >= 6);
    let pages = read("docs/metrics.md");
    for rule in &rules {
        let name = rule["alert"].as_str().unwrap();
        for key in ["summary", "description"] {
            assert!(rule["annotations"][key].is_string(), "{name} has no {key}");
        }
        assert!(pages.contains(&format!("`{name}`")), "docs/metrics.md does not explain {name}");
    }
    let Some(promtool) = promtool() else { return };
    let output =
        Command::new(&promtool).args(["check", "rules", "deploy/alerts.yml"]).current_dir(root()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output =
        Command::new(&promtool).args(["test", "rules", "tests/docs/alerts.yml"]).current_dir(root()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn prometheus_takes_the_scrape_configurations() {
    let Some(promtool) = promtool() else { return };
    let folder = tempfile::tempdir().unwrap();
    fs::copy(root().join("deploy/alerts.yml"), folder.path().join("alerts.yml")).unwrap();
    let configs = below("docs/").into_iter().flat_map(|page| snippets(&page));
    let configs: Vec<_> = configs.filter(|it| it.language == "yaml prometheus").collect();
    assert!(!configs.is_empty());
    for config in configs {
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, &config.text).unwrap();
        let output = Command::new(&promtool).args(["check", "config"]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{}\n{}", config.text, String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn board_is_whole() {
    let board: Value = serde_json::from_str(&read("deploy/grafana.json")).unwrap();
    let panels: Vec<&Value> = board["panels"].as_array().unwrap().iter().collect();
    let drawn: Vec<_> = panels.iter().filter(|panel| panel["type"] != "row").collect();
    assert!(drawn.len() >= 8);
    let mut ids: Vec<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");
    for panel in drawn {
        let targets = panel["targets"].as_array().unwrap();
        assert!(
            targets.iter().all(|target| target["expr"].as_str().unwrap().contains("pilot_")
                || target["expr"].as_str().unwrap().contains("process_")),
            "{panel}"
        );
        assert!(panel["description"].is_string() && panel["title"].is_string(), "{panel}");
        let place = &panel["gridPos"];
        assert!(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24, "{panel}");
    }
}

#[test]
fn systemd_takes_the_unit() {
    let unit = read("deploy/pilot.service");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/pilot ")).unwrap();
    let words = std::iter::once("pilot").chain(line.split_whitespace());
    use clap::CommandFactory;
    pilot::cli::Cli::command().try_get_matches_from(words).unwrap();
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return skipped("systemd-analyze is needed: Debian has it in the package systemd");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pilot.service");
    // It looks whether the program is there.
    fs::write(&file, unit.replace("/usr/local/bin/pilot", env!("CARGO_BIN_EXE_pilot"))).unwrap();
    let output = Command::new("systemd-analyze").arg("verify").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // It also speaks of the machine's own units.
    assert!(output.status.success() && !said.contains("pilot.service"), "{output:?}");
}

/// It lets Envoys reach the xDS port, and nobody but probes the admin port.
#[test]
fn network_policy_fits_the_manifests() {
    let policy: Value = serde_saphyr::from_str(&read("deploy/networkpolicy.yaml")).unwrap();
    let manifests = read("examples/kubernetes/pilot.yaml");
    let documents = manifests.split("\n---\n").map(|it| serde_saphyr::from_str::<Value>(it).unwrap());
    let deployment = documents.into_iter().find(|it| it["kind"] == "Deployment").unwrap();
    assert_eq!(policy["kind"], "NetworkPolicy");
    assert_eq!(policy["metadata"]["namespace"], deployment["metadata"]["namespace"]);
    assert_eq!(policy["spec"]["podSelector"]["matchLabels"], deployment["spec"]["selector"]["matchLabels"]);
    let ports = deployment["spec"]["template"]["spec"]["containers"][0]["ports"].as_array().unwrap();
    let number =
        |name: &str| ports.iter().find(|port| port["name"] == name).unwrap()["containerPort"].clone();
    let ingress = policy["spec"]["ingress"].as_array().unwrap();
    let opened: Vec<&Value> =
        ingress.iter().flat_map(|rule| rule["ports"].as_array().unwrap()).map(|it| &it["port"]).collect();
    assert!(opened.contains(&&number("grpc-xds")) && opened.contains(&&number("http-admin")), "{opened:?}");
    assert!(
        ingress.iter().all(|rule| rule["from"].as_array().is_some_and(|from| !from.is_empty())),
        "open to all"
    );
}

/// What a build of the image takes from the repository is there, and its program is pilot's.
#[test]
fn image_is_built_of_what_is_there() {
    let file = read("deploy/Dockerfile");
    for line in file.lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from")) {
        let words: Vec<_> = line.split_whitespace().collect();
        for source in &words[1..words.len() - 1] {
            assert!(root().join(source).exists(), "{line}");
        }
    }
    let version = read("Cargo.toml");
    let rust =
        version.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    let image = file.lines().find_map(|line| line.strip_prefix("FROM rust:")).unwrap();
    let number =
        |text: &str| text.split(['.', '-']).take(2).map(|it| it.parse::<u32>().unwrap()).collect::<Vec<_>>();
    assert!(number(image) >= number(rust), "rust:{image} is older than {rust}");
    assert!(file.contains("USER 65532"), "the manifests say which user it is");
}
