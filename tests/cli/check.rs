//! `pilot check`: what it looks at, what it warns of, and what it says of the registries that it asks.

use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use pilot_registry_testkit::server::etcd::EtcdCluster;
use serde_json::{Value, json};

use super::{CONFIG, SERVICES, folder, pilot, stderr, stdout};

/// The report, and the exit code.
fn check(folder: &Path, arguments: &[&str]) -> (Value, i32) {
    let arguments = [&["check", "-o", "json"], arguments].concat();
    // The tests may run in a pod themselves.
    let output = pilot(folder, &[("KUBERNETES_SERVICE_HOST", "")], &arguments);
    let report = serde_json::from_str(stdout(&output));
    let report = report.unwrap_or_else(|error| panic!("{error}: {}{}", stdout(&output), stderr(&output)));
    (report, output.status.code().unwrap())
}

/// Place, key and message of each, in one text.
fn said(list: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(|text| format!("{text} ")).unwrap_or_default();
    let one = |problem: &Value| {
        let at = problem["line"].as_u64().map(|line| format!("{line} ")).unwrap_or_default();
        let message = problem["message"].as_str().unwrap();
        format!("{}{at}{}{message}", text(&problem["file"]), text(&problem["key"]))
    };
    list.as_array().unwrap().iter().map(one).collect()
}

fn assert_says(list: &Value, expected: &[&str]) {
    let found = said(list);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for part in expected {
        assert!(found.iter().any(|one| one.contains(part)), "{part} is not in {found:#?}");
    }
}

#[test]
fn a_path_that_leads_to_nothing_is_told_with_its_key_and_what_was_meant() {
    let folder = folder("[registry.local.file]\npath = \"service.toml\"\n", SERVICES);
    let (report, code) = check(folder.path(), &[]);
    let expected = "pilot.toml 2 registry.local.file.path service.toml: cannot be read: it does not exist; \
                    did you mean services.toml?";
    assert_eq!((said(&report["problems"]), code), (vec![expected.to_owned()], 2));

    std::fs::create_dir(folder.path().join("service.toml")).unwrap();
    let (report, code) = check(folder.path(), &[]);
    assert_says(
        &report["problems"],
        &["registry.local.file.path service.toml: it is an empty folder: expected a file"],
    );
    assert_eq!(code, 2);
}

#[test]
fn what_is_wrong_is_told_in_the_order_of_lines() {
    let service = |host: &str| {
        format!("[[service]]\nhost = \"{host}\"\nports = [{{ port = 80, protocol = \"htp\" }}]\n")
    };
    let services: String = ["a.local", "b.local", "c.local", "d.local"].map(service).concat();
    let folder = folder(CONFIG, &services);
    let (report, _) = check(folder.path(), &[]);
    let lines: Vec<_> = report["problems"].as_array().unwrap().iter().map(|it| it["line"].as_u64()).collect();
    assert_eq!(lines, [3, 6, 9, 12].map(Some), "{report:#}");
}

#[test]
fn the_verdict_names_the_file_that_is_wrong() {
    let folder = folder(CONFIG, &SERVICES.replace("\"http\"", "\"htp\""));
    let output = pilot(folder.path(), &[], &["check"]);
    assert!(stdout(&output).ends_with("\n1 problem in services.toml\n"), "{}", stdout(&output));
    std::fs::write(folder.path().join("pilot.toml"), format!("[xds]\nlisten = 5\n{CONFIG}")).unwrap();
    let output = pilot(folder.path(), &[], &["check"]);
    assert!(stdout(&output).ends_with("\n1 problem in pilot.toml\n"), "{}", stdout(&output));
}

#[test]
fn every_file_that_pilot_toml_names_is_looked_at() {
    let config = "[registry.a.consul]\ntoken_file = \"gone\"\n\
                  address = \"https://127.0.0.1:1\"\n\
                  [registry.a.consul.tls]\nca = \"empty\"\ncert = \"text\"\nkey = \"text\"\n\
                  [registry.b.etcd]\nendpoints = [\"http://127.0.0.1:1\"]\nuser = \"u\"\npassword_file = \"empty\"\n\
                  [registry.c.kubernetes]\nkubeconfig = \"text\"\n\
                  [registry.d.kubernetes]\nkubeconfig = \".\"\n";
    let folder = folder(config, SERVICES);
    std::fs::write(folder.path().join("empty"), "\n").unwrap();
    std::fs::write(folder.path().join("text"), "open-sesame\n").unwrap();
    let (report, code) = check(folder.path(), &[]);
    assert_says(
        &report["problems"],
        &[
            "pilot.toml 2 registry.a.consul.token_file gone does not exist",
            "pilot.toml 5 registry.a.consul.tls.ca empty has no certificate: expected PEM",
            "pilot.toml 6 registry.a.consul.tls.cert text has no certificate: expected PEM",
            "pilot.toml 7 registry.a.consul.tls.key text has no private key: expected PEM",
            "pilot.toml 11 registry.b.etcd.password_file empty is empty: expected the secret in it",
            "pilot.toml 13 registry.c.kubernetes.kubeconfig text is no kubeconfig: expected YAML",
            "pilot.toml 15 registry.d.kubernetes.kubeconfig . is a folder: expected a file",
        ],
    );
    assert_eq!(code, 2);
    assert!(!report.to_string().contains("open-sesame"), "{report}");
}

#[test]
fn files_that_are_what_they_should_be_are_in_order() {
    let config = "[registry.a.consul]\ntoken_file = \"token\"\naddress = \"https://127.0.0.1:1\"\n\
                  [registry.a.consul.tls]\nca = \"ca\"\ncert = \"ca\"\nkey = \"key\"\n\
                  [registry.c.kubernetes]\nkubeconfig = \"kubeconfig\"\n";
    let folder = folder(config, SERVICES);
    let block = |label: &str| format!("-----BEGIN {label}-----\nTUlJQg==\n-----END {label}-----\n");
    for (name, text) in [
        ("token", "t".to_owned()),
        ("ca", block("CERTIFICATE")),
        ("key", block("EC PRIVATE KEY")),
        ("kubeconfig", "apiVersion: v1\nclusters: []\nusers: []\ncontexts: []\n".to_owned()),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let (report, code) = check(folder.path(), &[]);
    assert_eq!((&report["problems"], code), (&json!([]), 0));
}

/// They may be there where pilot will run: that is no problem.
#[test]
fn variables_that_are_missing_here_are_a_warning() {
    let config = "[registry.a.consul]\ntoken_env = \"NO_SUCH_TOKEN\"\n[registry.b.kubernetes]\n";
    let folder = folder(config, SERVICES);
    let (report, code) = check(folder.path(), &[]);
    assert_says(
        &report["warnings"],
        &[
            "pilot.toml 2 registry.a.consul.token_env there is no environment variable NO_SUCH_TOKEN here",
            "registry.b.kubernetes.kubeconfig none is given, so pilot has to run in a pod of the cluster",
        ],
    );
    assert_eq!(code, 0);
}

fn service(host: &str, port: u16, protocol: &str, endpoints: &str) -> String {
    format!(
        "[[service]]\nhost = \"{host}\"\nports = [{{ port = {port}, protocol = \"{protocol}\" }}]\n\
         endpoints = [{endpoints}]\n"
    )
}

#[test]
fn a_service_without_endpoints_is_a_warning() {
    let services =
        service("a.local", 9080, "http", "") + &service("b.local", 9081, "http", "{ address = '10.0.0.1' }");
    let folder = folder(
        CONFIG,
        &(services
            + "[[service]]\nhost = \"c.local\"\nresolution = \"dns\"\nports = [{ port = 9082, protocol = \"tcp\" }]\n"),
    );
    let (report, code) = check(folder.path(), &[]);
    assert_eq!(
        said(&report["warnings"]),
        ["services.toml 2 a.local has no endpoints: clients get 503 until it has one"]
    );
    assert_eq!(code, 0);
    // Another registry may have them, and it is not asked.
    let config = format!("{CONFIG}[registry.other.consul]\n");
    std::fs::write(folder.path().join("pilot.toml"), config).unwrap();
    assert_eq!(check(folder.path(), &[]).0["warnings"], json!([]));
}

/// Whoever trusts a kubeconfig trusts what it leads to.
#[test]
fn files_that_a_kubeconfig_names_are_looked_at_for_the_context_that_is_meant() {
    let folder = folder("[registry.c.kubernetes]\nkubeconfig = \"kubeconfig\"\n", SERVICES);
    let kubeconfig = "apiVersion: v1\nkind: Config\ncurrent-context: prod\n\
        clusters:\n- name: prod\n  cluster: {server: https://127.0.0.1:1, certificate-authority: ca.pem}\n\
        - name: old\n  cluster: {server: https://127.0.0.1:2, certificate-authority: old.pem}\n\
        users:\n- name: admin\n  user: {tokenFile: /nope/token, client-certificate: text, client-key: /nope/key}\n\
        contexts:\n- name: prod\n  context: {cluster: prod, user: admin}\n\
        - name: old\n  context: {cluster: old, user: admin}\n";
    std::fs::write(folder.path().join("kubeconfig"), kubeconfig).unwrap();
    std::fs::write(folder.path().join("text"), "text").unwrap();
    let told = |flags: &[&str]| {
        let (report, code) = check(folder.path(), flags);
        assert_eq!(code, 2, "{report}");
        said(&report["problems"]).join("\n").replace(&format!("{}/", folder.path().display()), "")
    };
    let key = "pilot.toml 2 registry.c.kubernetes.kubeconfig";
    let of_admin = format!(
        "{key} users[admin].client-certificate: text has no certificate: expected PEM, -----BEGIN CERTIFICATE-----\n\
         {key} users[admin].client-key: /nope/key does not exist\n\
         {key} users[admin].tokenFile: /nope/token does not exist"
    );
    let authority = |cluster: &str, file: &str| {
        format!("{key} clusters[{cluster}].certificate-authority: {file} does not exist\n{of_admin}")
    };
    assert_eq!(told(&[]), authority("prod", "ca.pem"));
    let old = told(&["--set", "registry.c.kubernetes.context=old"]);
    assert_eq!(old, authority("old", "old.pem"));
}

/// Its author may have called the list otherwise, or know of none.
#[test]
fn a_file_without_a_key_of_pilot_toml_is_one_of_services() {
    let folder = folder(CONFIG, SERVICES);
    let told = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        let (report, code) = check(folder.path(), &[name]);
        assert_eq!(code, 2, "{report}");
        said(&report["problems"]).join("\n")
    };
    let services = told("a.toml", "[[services]]\nhost = 'a.local'\n");
    assert!(services.contains("unknown key \"services\": did you mean \"service\"?"), "{services}");
    let dotted = told("a.toml", "web.localhost = '127.0.0.1:80'\n");
    assert!(dotted.contains("unknown key \"web\": expected one of service"), "{dotted}");
    let config = told("other.toml", "[regstry.a.file]\npath = 'a.toml'\n");
    assert!(config.contains("did you mean \"registry\"?"), "{config}");
    let config = told("pilot.toml", "a = 1\n");
    assert!(config.contains("pilot.toml has"), "{config}");
}

#[test]
fn ports_that_envoy_cannot_have_are_a_warning_each() {
    let at = "{ address = '10.0.0.1:1' }";
    let services: String = [("a", 82), ("b", 82), ("c", 18000), ("d", 18080), ("e", 9901), ("f", 1024)]
        .iter()
        .map(|(name, port)| service(&format!("{name}.local"), *port, "http", at))
        .collect();
    let folder = folder(CONFIG, &(services + &service("u.local", 53, "udp", at)));
    let (report, code) = check(folder.path(), &[]);
    assert_says(
        &report["warnings"],
        &[
            "services.toml 2 port 82 of a.local, b.local: an Envoy that is not root may not listen below 1024",
            "services.toml 10 port 18000 of c.local: pilot itself listens at 127.0.0.1:18000 (xds.listen)",
            "services.toml 14 port 18080 of d.local: pilot itself listens at 127.0.0.1:18080 (admin.listen)",
            "services.toml 18 port 9901 of e.local: Envoy has its own admin page there",
            "services.toml 26 port 53 of u.local: an Envoy that is not root may not listen below 1024",
        ],
    );
    assert_eq!(code, 0);
    // Routers that listen elsewhere are not in the way.
    let (report, _) = check(folder.path(), &["--set", "router.bind=127.0.0.2"]);
    assert_eq!(said(&report["warnings"]).len(), 2, "{report}");
    // http_listen is a listener of a router, too.
    let (report, _) = check(folder.path(), &["--set", "router.http_listen=127.0.0.1:80"]);
    let warnings = said(&report["warnings"]).join("\n");
    assert!(warnings.contains("router.http_listen 127.0.0.1:80: an Envoy that is not root"), "{warnings}");
}

/// As far as it is known here: an Envoy may run on another machine.
#[test]
fn endpoints_of_this_machine_at_listeners_of_pilot_or_envoy_are_a_warning() {
    let Ok(own) = pilot::register::address::outward() else { return };
    let at = |port: u16| format!("{{ address = '{own}:{port}' }}");
    let services: String = [("a", 80, 18000), ("b", 81, 15080), ("c", 9082, 9082), ("d", 9083, 1)]
        .iter()
        .map(|(name, port, endpoint)| service(&format!("{name}.local"), *port, "http", &at(*endpoint)))
        .collect();
    let folder = folder(CONFIG, &services);
    let everywhere = [
        "--set",
        "xds.listen=0.0.0.0:18000",
        "--set",
        "router.http_listen=0.0.0.0:15080",
        "--set",
        "router.bind=0.0.0.0",
    ];
    let (report, code) = check(folder.path(), &everywhere);
    let warnings = said(&report["warnings"]).join("\n");
    for expected in [
        format!("a.local: endpoint {own}:18000 is pilot's own port on this machine (xds.listen)"),
        format!("b.local: endpoint {own}:15080 is router.http_listen of an Envoy on this machine"),
        format!("c.local: endpoint {own}:9082 is where an Envoy on this machine listens for port 9082"),
    ] {
        assert!(warnings.contains(&expected), "{expected}: {warnings}");
    }
    assert!(!warnings.contains("d.local: endpoint") && code == 0, "{warnings}");
    // Listeners at loopback are not in the way.
    let (report, _) = check(folder.path(), &[]);
    assert!(!said(&report["warnings"]).join("\n").contains("on this machine"), "{report}");
}

#[test]
fn services_files_are_checked_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good.toml"), SERVICES).unwrap();
    std::fs::write(folder.path().join("bad.yaml"), "- host: a.local\n").unwrap();
    std::fs::write(folder.path().join("other.toml"), "[registry.local.file]\npath = \"good.toml\"\n")
        .unwrap();
    let output = pilot(folder.path(), &[], &["check", "good.toml"]);
    assert!(
        stdout(&output).ends_with("good.toml is in order: 1 registry, 1 service, 2 endpoints\n"),
        "{output:?}"
    );
    assert_eq!(output.status.code(), Some(0));
    let output = pilot(folder.path(), &[], &["check", "bad.yaml"]);
    assert!(stdout(&output).contains("the file is a list: write it below the key `service:`"), "{output:?}");
    assert!(stdout(&output).ends_with("1 problem in bad.yaml\n"), "{}", stdout(&output));
    assert_eq!(output.status.code(), Some(2));
    for services in ["\u{feff}[[ service ]]\n", "\"service\" = []\n"] {
        std::fs::write(folder.path().join("odd.toml"), services).unwrap();
        let output = pilot(folder.path(), &[], &["check", "odd.toml"]);
        assert!(!stdout(&output).contains("there is none"), "{services:?}: {output:?}");
    }
    let output = pilot(folder.path(), &[], &["check", "good.toml", "--set", "router.bind=300"]);
    assert!(stdout(&output).contains("router.bind") && output.status.code() == Some(2), "{output:?}");
    let output = pilot(folder.path(), &[], &["check", "other.toml"]);
    assert!(stdout(&output).contains("other.toml is in order"), "{output:?}");
    std::fs::create_dir(folder.path().join("none")).unwrap();
    for (path, why) in [
        ("gone.yaml", "there is no such file or folder"),
        ("gone.toml", "there is no such file or folder"),
        ("gone", "there is no such file or folder"),
        ("none", "the folder has no file that ends in .toml, .yaml, .yml or .json"),
    ] {
        let (report, code) = check(folder.path(), &[path]);
        let problem = &report["problems"][0];
        assert!(problem["message"].as_str().unwrap().contains(why), "{report}");
        assert_eq!(
            (&problem["file"], &problem["line"], &problem["key"]),
            (&json!(path), &json!(null), &json!(null))
        );
        assert_eq!((report["problems"].as_array().unwrap().len(), code), (1, 2), "{report}");
    }
    let output = pilot(folder.path(), &[], &["check", "gone.toml"]);
    assert!(stdout(&output).contains("gone.toml") && output.status.code() == Some(2), "{output:?}");
}

#[test]
fn connect_says_which_registry_does_not_answer_and_why() {
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = format!(
        "{CONFIG}[registry.silent.consul]\naddress = \"http://{}\"\n\
         [registry.gone.consul]\naddress = \"unix:///nonexistent/consul.sock\"\n",
        silent.local_addr().unwrap()
    );
    let folder = folder(&config, SERVICES);
    let (report, code) = check(folder.path(), &["--connect", "--timeout", "2s"]);
    assert_eq!((&report["problems"], &report["ok"], code), (&json!([]), &json!(false), 1));
    let answer = |name: &str| {
        let all = report["registries"].as_array().unwrap();
        all.iter().find(|one| one["registry"] == name).unwrap()["answer"].clone()
    };
    assert_eq!((&answer("local")["ok"], &answer("local")["skipped"]), (&json!(true), &json!(0)));
    assert!(answer("silent")["error"].as_str().unwrap().starts_with("no answer within 2s"), "{report}");
    assert!(answer("gone")["error"].as_str().unwrap().contains("/nonexistent/consul.sock"), "{report}");
    let output = pilot(folder.path(), &[], &["check", "--connect", "--timeout", "2s"]);
    assert!(stdout(&output).ends_with("\n2 registries did not answer as expected\n"), "{}", stdout(&output));
    // A table that is refused keeps nobody from asking the others.
    let refused = ["--connect", "--timeout", "2s", "--set", "registry.silent.consul.address=garbage"];
    let (report, _) = check(folder.path(), &refused);
    let local =
        report["registries"].as_array().unwrap().iter().find(|one| one["registry"] == "local").unwrap();
    assert_eq!((&report["ok"], &local["answer"]["ok"]), (&json!(false), &json!(true)), "{report}");
    // Without it nothing is asked, and no flag is without effect.
    assert_eq!(check(folder.path(), &[]).1, 0);
    let output = pilot(folder.path(), &[], &["check", "--timeout", "2s"]);
    assert!(stderr(&output).contains("--connect") && output.status.code() == Some(2), "{output:?}");
}

#[tokio::test]
async fn connect_shows_what_a_real_etcd_has() {
    let Some(cluster) = EtcdCluster::start(1).await.unwrap() else { return };
    let instance = |port: u16| json!({ "address": "10.0.0.1", "port": port, "protocol": "http" }).to_string();
    cluster.etcdctl(&["put", "/pilot/v1/instances/a.local/one", &instance(9080)]).await.unwrap();
    cluster.etcdctl(&["put", "/pilot/v1/instances/a.local/two", "nonsense"]).await.unwrap();
    let config = format!("[registry.east.etcd]\nendpoints = {:?}\n", cluster.endpoints());
    let folder = folder(&config, SERVICES);
    let (report, code) = check(folder.path(), &["--connect", "--timeout", "60s"]);
    let east = &report["registries"][0];
    assert_eq!(
        (&east["services"], &east["endpoints"], &east["answer"]["skipped"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert!(said(&report["warnings"]).iter().any(|one| one.starts_with("registry east: ")), "{report}");
    assert_eq!((&report["ok"], code), (&json!(true), 0));
}

/// What is open to others is said with its key, and a port at loopback is not.
#[test]
fn what_other_machines_reach_is_a_warning_each() {
    let config = format!("[xds]\nlisten = \"0.0.0.0:18000\"\n{CONFIG}");
    let folder = folder(&config, SERVICES);
    let other = [
        "--set",
        "admin.listen=[::]:18080",
        "--set",
        "router.bind=0.0.0.0",
        "--set",
        "router.http_listen=192.0.2.1:15080",
    ];
    let (report, code) = check(folder.path(), &other);
    let port = "other machines reach this port, and it has neither TLS nor a password";
    let router = "other machines reach services through an Envoy that listens there";
    let expected = [
        format!("pilot.toml 2 xds.listen 0.0.0.0:18000: {port}"),
        format!("admin.listen [::]:18080: {port}"),
        format!("router.bind 0.0.0.0: {router}"),
        format!("router.http_listen 192.0.2.1:15080: {router}"),
    ];
    assert_says(&report["warnings"], &expected.each_ref().map(String::as_str));
    assert_eq!(code, 0);
    let loopback = ["--set", "xds.listen=[::1]:18000", "--set", "router.http_listen=127.0.0.9:15080"];
    assert_eq!(check(folder.path(), &loopback).0["warnings"], json!([]));
}

/// As `serve` would find it, and nothing is made.
#[test]
fn a_state_folder_that_cannot_be_made_is_told_with_what_is_in_the_way() {
    let folder = folder(CONFIG, SERVICES);
    let closed = folder.path().join("closed");
    std::fs::DirBuilder::new().mode(0o500).create(&closed).unwrap();
    let is_root = std::fs::write(closed.join("file"), "").is_ok();
    let mut wrong = vec![
        // Not even root can make a folder there.
        ("/proc/pilot/state".to_owned(), "(/proc: "),
        ("services.toml/state".to_owned(), "(services.toml is not a folder)"),
    ];
    if !is_root {
        wrong.push(("closed/state".to_owned(), "(closed: permission denied)"));
    }
    for (dir, why) in wrong {
        let expected = format!("state.dir: {dir} cannot be written in {why}");
        let set = format!("state.dir={dir}");
        for verb in ["check", "serve"] {
            let output = pilot(folder.path(), &[], &[verb, "--set", &set]);
            let shown = format!("{}{}", stdout(&output), stderr(&output)).replace("  ", ": ");
            assert!(shown.contains(&expected), "{verb} does not say {expected}: {shown}");
            assert_eq!(output.status.code(), Some(2), "{verb}");
        }
    }
    let (report, code) = check(folder.path(), &["--set", "state.dir=a/b/state"]);
    assert_eq!((&report["problems"], code), (&json!([]), 0));
    let names = std::fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(names, ["closed", "pilot.toml", "services.toml"], "nothing is left behind");
}

const CART: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart}
spec:
  host: cart.local
";

#[test]
fn documents_alone_are_checked_without_services_and_without_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("cart.yaml", CART);
    write("stock.yaml", &CART.replace("name: cart", "name: stock"));
    let (report, code) = check(folder.path(), &["cart.yaml", "stock.yaml"]);
    assert_eq!((said(&report["problems"]), said(&report["warnings"]), code), (vec![], vec![], 0), "{report}");
    assert_eq!(report["documents"], 2);
    write("stock.yaml", &CART.replace("  host", "  hosst"));
    let (report, code) = check(folder.path(), &["cart.yaml", "stock.yaml"]);
    let wrong = [
        "stock.yaml 5 spec.hosst unknown field: did you mean host?",
        "\"host\" is missing",
        "is there twice",
    ];
    assert_says(&report["problems"], &wrong);
    assert_eq!(code, 2);
    // All of a folder is the same.
    let (of_folder, code) = check(folder.path(), &["."]);
    assert_eq!((of_folder["problems"].as_array().unwrap().len(), code), (3, 2), "{of_folder}");
    write("services.toml", SERVICES);
    let (report, code) = check(folder.path(), &["cart.yaml", "services.toml"]);
    assert_says(&report["problems"], &["services.toml it has no documents of rules"]);
    assert_eq!(code, 2);
    // Where there is a configuration, its services are not looked at, but what it says of the mesh counts.
    write("pilot.toml", &format!("{CONFIG}[rules.local.file]\npath = \"none\"\n"));
    let (report, code) = check(folder.path(), &["cart.yaml"]);
    assert_eq!((said(&report["problems"]), said(&report["warnings"]), code), (vec![], vec![], 0), "{report}");
}

#[test]
fn documents_are_compared_with_the_services_that_are_known() {
    let rules = "[rules.local.file]\npath = \"rules\"\n";
    let folder = folder(&format!("{CONFIG}{rules}"), SERVICES);
    std::fs::create_dir(folder.path().join("rules")).unwrap();
    std::fs::write(folder.path().join("rules/cart.yaml"), CART).unwrap();
    std::fs::write(folder.path().join("proposed.yaml"), CART.replace("cart.local", "reviews.local")).unwrap();
    let dangling =
        "rules/cart.yaml 1 DestinationRule/default/cart: spec.host: no service is called cart.local";
    for arguments in [&[][..], &["--rules", "rules"]] {
        let (report, code) = check(folder.path(), arguments);
        assert_says(&report["warnings"], &[dangling]);
        assert_eq!(code, 0);
    }
    let (report, code) = check(folder.path(), &["--rules", "proposed.yaml"]);
    assert_eq!((said(&report["warnings"]), code), (vec![], 0), "{report}");
}
