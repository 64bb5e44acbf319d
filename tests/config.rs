//! pilot.toml: what is accepted, what is refused in which words, and what overrides what.

use std::collections::BTreeMap;
use std::time::Duration;

use pilot::config::{Loaded, Problems, Setting, parse};

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
                "pilot.toml:3:17: xds.drain_timeout: \"soon\" is not a duration: expected a whole number and a unit (ms, s, m or h), like \"30s\"",
            ],
        ),
        (
            "[push]\nquiet = \"1s\"\n",
            &["pilot.toml:2:9: push.quiet: longer than push.max_delay, which is 200ms"],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refused(&format!("{text}{REGISTRY}"), &[], &[]), *expected, "{text}");
    }
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
