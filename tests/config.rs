//! pilot.toml: what is accepted, what is refused in which words, and what overrides what.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use pilot::config::{Loaded, Problems, Setting, load, parse};
use pilot::registries;
use pilot_registry_testkit::effort;
use proptest::prelude::*;

const REGISTRY: &str = "[registry.local.file]\npath = \"services.toml\"\n";

fn parsed(text: &str, environment: &[(&str, &str)], flags: &[Setting]) -> Result<Loaded, Problems> {
    let environment: BTreeMap<String, String> =
        environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    parse("pilot.toml", text, &environment, flags)
}

fn refused(text: &str, environment: &[(&str, &str)], flags: &[Setting]) -> Vec<String> {
    let problems = parsed(text, environment, flags).unwrap_err();
    problems.0.iter().map(ToString::to_string).collect()
}

#[test]
fn bad_configurations_are_refused_with_place_and_hint() {
    let cases: &[(&str, &[&str])] = &[
        (
            "[xds]\nlisen = \"127.0.0.1:1\"\n",
            &["pilot.toml:2:1: xds.lisen: unknown key: did you mean \"listen\"?"],
        ),
        ("[xdss]\n", &["pilot.toml:1:2: xdss: unknown key: did you mean \"xds\"?"]),
        (
            "[admin]\npassword = \"x\"\n",
            &["pilot.toml:2:1: admin.password: unknown key: [admin] has \"listen\""],
        ),
        (
            "[xds]\nmax_streams = \"many\"\n  max_names = 0\nlisten = 7\n",
            &[
                "pilot.toml:2:15: xds.max_streams: \"many\" does not fit: expected a whole number from 1 to 1000000, like 20000",
                "pilot.toml:3:15: xds.max_names: 0 does not fit: expected a whole number from 1 to 10000000, like 50000",
                "pilot.toml:4:10: xds.listen: 7 does not fit: expected a string, like \"127.0.0.1:18000\"",
            ],
        ),
        ("xds = 5\n", &["pilot.toml:1:7: xds: 5 does not fit: expected a table"]),
        (
            "[log]\nformat = \"xml\"\n",
            &["pilot.toml:2:10: log.format: \"xml\" does not fit: expected one of \"text\", \"json\""],
        ),
        (
            "[xds]\nlisten = \"localhost:18000\"\ndrain_timeout = \"soon\"\n",
            &[
                "pilot.toml:2:10: xds.listen: \"localhost:18000\" is not an address to listen on: expected an IP address and a port, like \"127.0.0.1:18000\" or \"[::1]:18000\"",
                "pilot.toml:3:17: xds.drain_timeout: \"soon\" is not a duration: expected numbers with units (h, m, s or ms), like \"30s\"",
            ],
        ),
        (
            "[router]\nhttp_listen = \"15080\"\n[admin]\nlisten = \"localhost\"\n",
            &[
                "pilot.toml:2:15: router.http_listen: \"15080\" is not an address to listen on: expected an IP address and a port, like \"127.0.0.1:15080\" or \"[::1]:15080\"",
                "pilot.toml:4:10: admin.listen: \"localhost\" is not an address to listen on: expected an IP address and a port, like \"127.0.0.1:8080\" or \"[::1]:8080\"",
            ],
        ),
        (
            "[router]\nhttp_port_listeners = false\n",
            &[
                "pilot.toml:2:23: router.http_port_listeners: nothing would lead to HTTP services: expected router.http_listen, too",
            ],
        ),
        (
            "[push]\nquiet = \"1s\"\n",
            &["pilot.toml:2:9: push.quiet: longer than push.max_delay, which is 200ms"],
        ),
        (
            "[mesh]\nconnect_timeout = \"0s\"\n",
            &["pilot.toml:2:19: mesh.connect_timeout: 0 makes no sense here: expected a longer time"],
        ),
        (
            "[guard]\nshare_percent = 100\nhold = \"0s\"\n[state]\ndir = \"\"\n",
            &[
                "pilot.toml:2:17: guard.share_percent: 100 does not fit: expected a whole number from 1 to 99, like 50",
                "pilot.toml:3:8: guard.hold: 0 makes no sense here: expected a longer time",
                "pilot.toml:5:7: state.dir: is empty: expected the path of a folder, like \"state\"",
            ],
        ),
        (
            "[admin]\nlisten = \"127.0.0.1:18000\"\n",
            &[
                "pilot.toml:2:10: admin.listen: 127.0.0.1:18000 collides with xds.listen, which is 127.0.0.1:18000: expected another port",
            ],
        ),
        (
            "[router]\nbind = \"127.0.0.1:80\"\nhttp_listen = \"127.0.0.1:18080\"\n",
            &[
                "pilot.toml:2:8: router.bind: \"127.0.0.1:80\" is not an IP address: expected one without a port, like \"127.0.0.1\" or \"::1\"",
                "pilot.toml:3:15: router.http_listen: pilot itself listens there: expected another address",
            ],
        ),
        (
            "[log]\nfilter = \"inof\"\n",
            &[
                "pilot.toml:2:10: log.filter: \"inof\" is not a level: expected a level (error, warn, info, debug, trace, off) or module=level, separated by commas",
            ],
        ),
        ("[xds\n", &["pilot.toml:1:5: not TOML: unclosed table, expected `]`"]),
        (
            "[log]\n[log]\n",
            &["pilot.toml:2:2: log: it is there twice, first in line 1: expected one of them"],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refused(&format!("{text}{REGISTRY}"), &[], &[]), *expected, "{text}");
    }
}

#[test]
fn bad_registries_are_refused_with_place_and_hint() {
    let cases: &[(&str, &[&str])] = &[
        (
            "",
            &[
                "pilot.toml: registry: there is none, so there would be no services: expected at least one, like registry.local.file.path = \"services.toml\"",
            ],
        ),
        (
            "[registry.local]\n",
            &[
                "pilot.toml:1:1: registry.local: says no kind of registry: expected a table like [registry.local.file]",
            ],
        ),
        (
            "[registry.local.fil]\n",
            &["pilot.toml:1:17: registry.local.fil: unknown key: did you mean \"file\"?"],
        ),
        (
            "[registry.local.file]\n",
            &["pilot.toml:1:1: registry.local.file: path is missing: expected a string"],
        ),
        (
            "[registry.local.file]\npath = 3\n[registry.b]\npriority = -1\nfile.pth = \"x\"\n",
            &[
                "pilot.toml:2:8: registry.local.file.path: 3 does not fit: expected a string",
                "pilot.toml:4:12: registry.b.priority: -1 does not fit: expected a whole number from 0 to 127, like 0",
                "pilot.toml:5:6: registry.b.file.pth: unknown key: did you mean \"path\"?",
            ],
        ),
        (
            "[registry.a.file]\npath = \"x\"\npriority = 1\n[registry.b.consul.tls]\ntoken = \"x\"\noptional = true\n",
            &[
                "pilot.toml:3:1: registry.a.file.priority: unknown key: it belongs one level up, in [registry.a]",
                "pilot.toml:5:1: registry.b.consul.tls.token: unknown key: it belongs one level up, in [registry.b.consul]",
                "pilot.toml:6:1: registry.b.consul.tls.optional: unknown key: it belongs 2 levels up, in [registry.b]",
            ],
        ),
        (
            "[registry.a]\npath = \"x\"\nfile.path = \"x\"\n",
            &[
                "pilot.toml:2:1: registry.a.path: unknown key: it belongs one level down, in [registry.a.file]",
            ],
        ),
        (
            "[registry.a.etcd]\nendpoint = [\"http://a:1\"]\n",
            &["pilot.toml:2:1: registry.a.etcd.endpoint: unknown key: did you mean \"endpoints\"?"],
        ),
        (
            "[registry.a.etcd]\nendpoints = [\"http://a:1\"]\nprogress_interval = \"1\"\n",
            &[
                "pilot.toml:3:21: registry.a.etcd.progress_interval: \"1\" is not a duration: expected numbers with units (h, m, s or ms), like \"5s\"",
            ],
        ),
        (
            "[registry.a.kubernetes]\nlocal_names = [\"{service}\", 1]\n[registry.b.file]\npath = \"x\"\n",
            &[
                "pilot.toml:2:29: registry.a.kubernetes.local_names: invalid type: integer `1`, expected a string",
            ],
        ),
        (
            "[registry.Local_1.file]\npath = \"x\"\n",
            &[
                "pilot.toml:1:11: registry.Local_1: \"Local_1\" is not a name for a registry: expected 1 to 63 of a-z, 0-9 and '-'",
            ],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refused(text, &[], &[]), *expected, "{text}");
    }
}

#[test]
fn bad_settings_are_refused_by_name() {
    let environment =
        [("PILOT_XDS_MAX_STREAMS", "-1"), ("PILOT_PUSH_QUIET", "1s"), ("PILOT_LOG_FILTER", "a=b=c")];
    let flags =
        [Setting::new("--set xds.lisen", "xds.lisen", "x"), Setting::new("--log", "log.format", "yes")];
    assert_eq!(
        refused(REGISTRY, &environment, &flags),
        [
            "--log: log.format: \"yes\" does not fit: expected one of \"text\", \"json\"",
            "--set xds.lisen: xds.lisen: unknown key: did you mean \"listen\"?",
            "PILOT_LOG_FILTER: log.filter: \"a=b=c\" is not a filter (invalid filter directive: too many '=' in filter directive, expected 0 or 1): expected a level (error, warn, info, debug, trace, off) or module=level, separated by commas",
            "PILOT_PUSH_QUIET: push.quiet: longer than push.max_delay, which is 200ms",
            "PILOT_XDS_MAX_STREAMS: xds.max_streams: -1 does not fit: expected a whole number from 1 to 1000000, like 20000",
        ]
    );
}

#[test]
fn variables_that_are_none_are_ignored_with_a_warning() {
    let environment = [
        ("PILOT_XDS_LISTN", "x"),
        ("PILOT_SERVICE_HOST", "10.0.0.1"),
        ("PILOTAGE", "x"),
        ("PILOT_CONFIG", "x"),
    ];
    let warnings = parsed(REGISTRY, &environment, &[]).unwrap().warnings;
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "PILOT_SERVICE_HOST: unknown variable is ignored",
            "PILOT_XDS_LISTN: unknown variable is ignored: did you mean PILOT_XDS_LISTEN?",
        ]
    );
}

/// A client that comes back names all that it has in one request.
#[test]
fn limits_that_keep_clients_from_coming_back_are_told_where_they_are_set() {
    let warnings = |xds: &str| {
        let text = format!("[xds]\n{xds}\n{REGISTRY}");
        let warnings = parsed(&text, &[], &[]).unwrap().warnings;
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for agree in ["", "max_names = 1000\nmax_request_bytes = 150_000"] {
        assert_eq!(warnings(agree), Vec::<String>::new(), "{agree}");
    }
    let [told] = &*warnings("max_request_bytes = 1_500_000") else { panic!("one warning is expected") };
    assert!(told.starts_with("pilot.toml:2:21: xds.max_request_bytes: "), "{told}");
    assert!(told.contains("expected 7500000, or xds.max_names = 10000"), "{told}");
    let [told] = &*warnings("max_names = 1_000_000") else { panic!("one warning is expected") };
    assert!(told.starts_with("pilot.toml:2:13: xds.max_names: "), "{told}");
    assert!(told.contains("raise xds.max_request_bytes to 150000000"), "{told}");
}

#[test]
fn registries_of_the_file_have_variables() {
    let text = "[registry.far-east]\nfile.path = \"a.toml\"\n";
    let environment =
        [("PILOT_REGISTRY_FAR_EAST_FILE_PATH", "b.toml"), ("PILOT_REGISTRY_FAR_EAST_PRIORITY", "2")];
    let loaded = parsed(text, &environment, &[]).unwrap();
    assert_eq!(loaded.warnings, []);
    let entry = &loaded.config.registry["far-east"];
    assert_eq!(entry.priority, 2);
    assert_eq!(entry.file.as_ref().unwrap().path, Path::new("b.toml"));
}

#[test]
fn paths_are_relative_to_the_file_that_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pilot.toml");
    let registries = "[registry.a]\nfile.path = \"a.toml\"\n[registry.b]\nfile.path = \"b.toml\"\n";
    std::fs::write(&file, format!("[state]\ndir = \"state\"\n{registries}")).unwrap();
    let environment = BTreeMap::from([("PILOT_REGISTRY_B_FILE_PATH".to_owned(), "c.toml".to_owned())]);
    let loaded = load(&file, &environment, &[]).unwrap();
    let path = |name: &str| loaded.config.registry[name].file.as_ref().unwrap().path.clone();
    assert_eq!(path("a"), folder.path().join("a.toml"));
    assert_eq!(path("b"), Path::new("c.toml"));
    assert_eq!(loaded.config.state.dir, Some(folder.path().join("state")));

    let etcd = "[registry.a.etcd]\nendpoints = [\"https://a:1\"]\ntls = { ca = \"ca.pem\" }\n";
    std::fs::write(&file, etcd).unwrap();
    let environment = BTreeMap::from([("PILOT_REGISTRY_A_ETCD_TLS_CERT".to_owned(), "a.pem".to_owned())]);
    let loaded = load(&file, &environment, &[]).unwrap();
    let tls = loaded.config.registry["a"].etcd.clone().unwrap().tls.unwrap();
    assert_eq!(tls.ca, folder.path().join("ca.pem"));
    assert_eq!(tls.cert.unwrap(), Path::new("a.pem"));
}

#[test]
fn files_that_cannot_be_read_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, content: Option<&[u8]>| {
        let file = folder.path().join(name);
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let problems = load(&file, &BTreeMap::new(), &[]).unwrap_err().to_string();
        problems.replace(folder.path().to_str().unwrap(), "").to_string()
    };
    assert!(refused("none.toml", None).starts_with("/none.toml: there is no such file: "));
    assert_eq!(refused("latin.toml", Some(b"[log]\n# \xe4\n")), "/latin.toml:2:3: this byte is not UTF-8");
    let large = vec![b'#'; (1 << 20) + 1];
    assert_eq!(refused("large.toml", Some(&large)), "/large.toml: too large: expected at most 1048576 bytes");
    assert!(refused("", None).contains("it is a folder: expected a file"));
}

#[test]
fn flag_wins_over_environment_over_file_over_default() {
    let file = format!("{REGISTRY}[push]\nmax_delay = \"2s\"\n");
    let environment = [("PILOT_PUSH_MAX_DELAY", "3s")];
    let flag = [Setting::new("--set", "push.max_delay", "4s")];
    let max_delay = |text: &str, environment: &[(&str, &str)], flags: &[Setting]| {
        parsed(text, environment, flags).unwrap().config.push.max_delay
    };
    assert_eq!(max_delay(REGISTRY, &[], &[]), Duration::from_millis(200));
    assert_eq!(max_delay(&file, &[], &[]), Duration::from_secs(2));
    assert_eq!(max_delay(&file, &environment, &[]), Duration::from_secs(3));
    assert_eq!(max_delay(&file, &environment, &flag), Duration::from_secs(4));
}

#[test]
fn deep_and_odd_input_is_refused_without_a_panic() {
    let odd = [
        format!("{}a = 1\n", "a.".repeat(100_000)),
        format!("[{}a]\n", "a.".repeat(100_000)),
        format!("a = {}", "[".repeat(100_000)),
        format!("[registry.x.file]\npath = {}", "{a=".repeat(100_000)),
        format!("[registry.x.{}y]\n", "file.".repeat(20_000)),
        "registry = [1]\nregistry.x.priority = 1\n".into(),
        "[registry.\"a.b\".file]\npath = 3\n[registry.\"\".file]\npath = \"x\"".into(),
        "\"\" = 1\n\"a.b\" = { \"c\" = 1 }".into(),
        "[[registry]]\n[[xds]]".into(),
    ];
    for text in odd {
        assert!(!refused(&text, &[], &[Setting::new("--set", "..", "x")]).is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(effort(100, 1000)) })]

    /// Whatever is typed into the middle of the reference: an answer, and places that exist.
    #[test]
    fn any_edit_gets_an_answer(at in 0.0..1.0f64, cut in 0usize..40, typed in "\\PC{0,12}|[a-z.=\"\\[\\]\n# ]{0,20}") {
        let reference: Vec<char> = include_str!("../pilot.toml").chars().collect();
        let from = (at * reference.len() as f64) as usize;
        let to = (from + cut).min(reference.len());
        let text: String = reference[..from].iter().copied().chain(typed.chars()).chain(reference[to..].iter().copied()).collect();
        let environment = BTreeMap::from([("PILOT_PUSH_QUIET".to_owned(), typed.clone())]);
        if let Err(problems) = parse("pilot.toml", &text, &environment, &[]) {
            prop_assert!(!problems.0.is_empty());
            for line in problems.0.iter().filter_map(|problem| problem.line) {
                prop_assert!(line <= text.matches('\n').count() + 1);
            }
        }
    }
}

#[test]
fn registries_are_built_as_configured() {
    let text = "[registry.b]\nfile.path = \"b.toml\"\npriority = 1\n[registry.a]\nfile.path = \"a.toml\"\n";
    let built = registries::build(&parsed(text, &[], &[]).unwrap()).unwrap();
    let built: Vec<_> = built.iter().map(|built| (&*built.name, built.kind, built.priority)).collect();
    assert_eq!(built, [("a", "file", 0), ("b", "file", 1)]);

    let text = format!("{REGISTRY}[registry.b]\nfile.path = \"\"\n");
    let problems = registries::build(&parsed(&text, &[], &[]).unwrap()).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "pilot.toml:4:13: registry.b.file.path: it is empty: expected a file or a folder"
    );
}

/// A file's registries, the environment, and what was used of it.
fn used(text: &str, environment: &[(&str, &str)]) -> Vec<(String, String, String)> {
    let environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let loaded = parse("pilot.toml", text, &environment, &[]).unwrap();
    loaded.used.into_iter().map(|it| (it.variable, it.key, it.value)).collect()
}

#[test]
fn variables_of_other_tools_count_where_one_registry_of_their_kind_says_nothing() {
    let consul = [("CONSUL_HTTP_ADDR", "c:8500"), ("CONSUL_HTTP_TOKEN", "s3cret")];
    let taken =
        |key: &str, variable: &str, value: &str| (variable.to_owned(), key.to_owned(), value.to_owned());
    assert_eq!(
        used("[registry.a.consul]\n[registry.b.file]\npath = \"x\"\n", &consul),
        [
            taken("registry.a.consul.address", "CONSUL_HTTP_ADDR", "http://c:8500"),
            taken("registry.a.consul.token_env", "CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN"),
        ]
    );
    for said in [
        "[registry.a.consul]\n[registry.b.consul]\n",
        "[registry.a.consul]\naddress = \"http://d:8500\"\n",
        "[registry.a.consul]\ntoken_file = \"t\"\n",
        "[registry.a.file]\npath = \"x\"\n",
    ] {
        assert_eq!(used(said, &consul), [], "{said}");
    }
    let own = [&consul[..], &[("PILOT_REGISTRY_A_CONSUL_ADDRESS", "http://d:8500")]].concat();
    assert_eq!(used("[registry.a.consul]\n", &own), []);
    assert_eq!(used("[registry.a.consul]\n", &[("CONSUL_HTTP_ADDR", ""), ("CONSUL_HTTP_TOKEN", " ")]), []);
    let tls = [
        ("CONSUL_HTTP_ADDR", "https://c:8501"),
        ("CONSUL_HTTP_TOKEN_FILE", "/t"),
        ("CONSUL_CACERT", "/ca"),
        ("CONSUL_NAMESPACE", "n"),
    ];
    assert_eq!(
        used("[registry.a.consul]\n", &tls),
        [
            taken("registry.a.consul.address", "CONSUL_HTTP_ADDR", "https://c:8501"),
            taken("registry.a.consul.token_file", "CONSUL_HTTP_TOKEN_FILE", "/t"),
            taken("registry.a.consul.tls.ca", "CONSUL_CACERT", "/ca"),
            taken("registry.a.consul.namespace", "CONSUL_NAMESPACE", "n"),
        ]
    );
    let own = "[registry.a.consul]\nnamespace = \"m\"\ntls.ca = \"/own\"\n";
    assert_eq!(used(own, &tls).len(), 2, "what the file says stands");
    assert_eq!(used("[registry.a.consul]\n", &tls[2..3]), [], "it is for https");
    let etcd = [("ETCDCTL_USER", "u"), ("ETCDCTL_PASSWORD", "s3cret"), ("ETCDCTL_ENDPOINTS", "b:2379")];
    assert_eq!(
        used("[registry.a.etcd]\n", &etcd),
        [
            taken("registry.a.etcd.endpoints", "ETCDCTL_ENDPOINTS", "http://b:2379"),
            taken("registry.a.etcd.user", "ETCDCTL_USER", "u"),
            taken("registry.a.etcd.password_env", "ETCDCTL_PASSWORD", "ETCDCTL_PASSWORD"),
        ]
    );
    assert_eq!(
        used("[registry.a.etcd]\n", &[("ETCDCTL_ENDPOINTS", "a:2379,https://b:2379")]),
        [taken("registry.a.etcd.endpoints", "ETCDCTL_ENDPOINTS", "http://a:2379, https://b:2379")]
    );
    assert_eq!(
        used("[registry.a.kubernetes]\n", &[("KUBECONFIG", "/k")]),
        [taken("registry.a.kubernetes.kubeconfig", "KUBECONFIG", "/k")]
    );
}

#[test]
fn a_kind_of_registry_is_a_table_below_a_name() {
    let kinds = "expected one of [registry.local.consul], [registry.local.etcd], [registry.local.file], \
                 [registry.local.kubernetes]";
    for (text, expected) in [
        (
            "[registry.local]\ntype = \"file\"\nfile.path = \"x\"\n",
            format!("pilot.toml:2:1: registry.local.type: the kind of a registry is a table of its own: {kinds}"),
        ),
        (
            "[registry.file]\npath = \"x\"\n",
            "pilot.toml:2:1: registry.file.path: file is a kind of registry, and the registry has no name: write \
             [registry.NAME.file], like [registry.local.file]"
                .to_owned(),
        ),
    ] {
        assert!(refused(text, &[], &[]).contains(&expected), "{:?}", refused(text, &[], &[]));
    }
}

#[test]
fn variables_of_other_tools_that_do_not_count_are_told_with_the_reason() {
    let unused = |text: &str, environment: &[(&str, &str)]| -> Vec<String> {
        let environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let loaded = parse("pilot.toml", text, &environment, &[]).unwrap();
        loaded.unused.into_iter().map(|it| format!("{}: {}", it.variable, it.why)).collect()
    };
    let consul = [("CONSUL_HTTP_ADDR", "c:8500"), ("CONSUL_HTTP_TOKEN", "s3cret")];
    assert_eq!(
        unused("[registry.a.consul]\naddress = \"http://d:8500\"\n", &consul),
        [
            "CONSUL_HTTP_ADDR: [registry.a.consul] has address",
            "CONSUL_HTTP_TOKEN: [registry.a.consul] has address"
        ]
    );
    assert_eq!(
        unused("[registry.a.consul]\ntags = [\"x\"]\n[registry.b.consul]\n", &consul[..1]),
        ["CONSUL_HTTP_ADDR: there are 2 registries of consul"]
    );
    let etcd = "[registry.a.etcd]\nendpoints = [\"http://e:1\"]\n";
    assert_eq!(
        unused(etcd, &[("ETCDCTL_ENDPOINTS", "e:2")]),
        ["ETCDCTL_ENDPOINTS: [registry.a.etcd] has endpoints"]
    );
    // What says the same, or is used, needs no word.
    assert!(unused(etcd, &[("ETCDCTL_ENDPOINTS", "e:1")]).is_empty());
    assert!(unused("[registry.a.consul]\n", &consul).is_empty());
    assert!(unused("[registry.a.file]\npath = \"x\"\n", &consul).is_empty());
    let own = "[registry.a.consul]\naddress = \"http://c:8500\"\ntoken_env = \"CONSUL_HTTP_TOKEN\"\n";
    assert!(unused(own, &consul).is_empty());
    let auth = [("CONSUL_HTTP_AUTH", "u:p"), ("CONSUL_NAMESPACE", "b")];
    assert_eq!(
        unused("[registry.a.consul]\nnamespace = \"a\"\n", &auth),
        [
            "CONSUL_NAMESPACE: [registry.a.consul] has namespace",
            "CONSUL_HTTP_AUTH: pilot knows tokens only: use token_env or token_file"
        ]
    );
    let tls = [("CONSUL_CACERT", "/ca"), ("CONSUL_HTTP_ADDR", "http://c:8500")];
    assert_eq!(
        unused("[registry.a.consul]\n", &tls),
        ["CONSUL_CACERT: the address does not begin with https://"]
    );
    assert!(
        unused("[registry.a.consul]\naddress = \"http://c:8500\"\n", &auth[..1]).is_empty(),
        "another server"
    );
}

#[test]
fn registries_that_follow_one_default_place_are_a_warning() {
    let warnings = |text: &str| -> Vec<String> {
        let loaded = parse("pilot.toml", text, &BTreeMap::new(), &[]).unwrap();
        loaded.warnings.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        warnings("[registry.a.consul]\n[registry.b.consul]\n"),
        [
            "pilot.toml:2:1: registry.b.consul.address: address is missing here and in registry.a.consul: both \
          follow the agent at http://127.0.0.1:8500"
        ]
    );
    assert!(
        warnings("[registry.a.consul]\ntags = [\"x\"]\n[registry.b.consul]\ntags = [\"y\"]\n").is_empty()
    );
    assert!(warnings("[registry.a.consul]\naddress = \"http://d:1\"\n[registry.b.consul]\n").is_empty());
}

#[test]
fn what_is_there_twice_is_told_with_both_places() {
    for (text, expected) in [
        (
            "[registry.a.file]\npath = \"x\"\n[registry.b.file]\npath = \"y\"\n\n[registry.a.file]\npath = \"z\"\n",
            "pilot.toml:6:13: registry.a.file: it is there twice, first in line 1: expected another name than \
             \"a\" for one of the registries",
        ),
        (
            "[registry.a]\nfile.path = \"x\"\n[registry.a]\nfile.path = \"y\"\n",
            "pilot.toml:3:11: registry.a: it is there twice, first in line 1: expected another name than \"a\" \
             for one of the registries",
        ),
        (
            "registry.a.file.path = \"x\"\n[xds]\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\n",
            "pilot.toml:4:1: xds.listen: it is there twice, first in line 3: expected one of them",
        ),
    ] {
        let said = refused(text, &[], &[]);
        assert_eq!(said, [expected], "{text}");
    }
}
