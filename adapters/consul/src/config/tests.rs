use super::*;

fn refusal(change: impl FnOnce(&mut Config)) -> ConfigError {
    let mut config = Config::default();
    change(&mut config);
    config.check().unwrap_err()
}

#[test]
fn the_defaults_make_sense() {
    assert_eq!(Config::default().check(), Ok(()));
    assert_eq!(serde_json::from_str::<Config>("{}").unwrap(), Config::default());
}

#[test]
fn the_default_protocol_is_one_that_pilot_knows() {
    let read = |text: &str| serde_json::from_str::<Config>(text);
    assert_eq!(read(r#"{ "default_protocol": "HTTP" }"#).unwrap().default_protocol, Protocol::Http);
    let error = read(r#"{ "default_protocol": "htp" }"#).unwrap_err().to_string();
    assert!(error.contains("unknown protocol \"htp\"") && error.contains("http"), "{error}");
}

#[test]
fn refusals_name_the_key() {
    let file = || Some(PathBuf::from("a.pem"));
    let cases: [(&str, ConfigError); 15] = [
        ("address", refusal(|c| c.address = "consul".into())),
        ("token_file", refusal(|c| (c.token, c.token_file) = (Some("t".to_owned().into()), file()))),
        ("token", refusal(|c| c.token = Some("a b".to_owned().into()))),
        ("token_env", refusal(|c| c.token_env = Some("A=B".into()))),
        ("tls.ca", refusal(|c| c.address = "https://c".into())),
        ("tls.cert", refusal(|c| c.tls.cert = file())),
        ("tls.server_name", refusal(|c| c.tls.server_name = Some("c".into()))),
        (
            "tls.key",
            refusal(|c| {
                c.address = "https://c".into();
                c.tls = Tls { ca: file(), cert: file(), ..Tls::default() };
            }),
        ),
        ("datacenters", refusal(|c| c.datacenters = vec!["a".into(), "a".into()])),
        ("tags", refusal(|c| c.tags = vec![String::new()])),
        ("namespace", refusal(|c| c.namespace = Some(" ".into()))),
        ("include", refusal(|c| c.include.clear())),
        ("service_port", refusal(|c| c.service_port = Some(DefaultPort::ByProtocol([].into())))),
        ("serve", refusal(|c| c.serve = vec![CheckStatus::Warning])),
        ("limits.wait_seconds", refusal(|c| c.limits.wait_seconds = 601)),
    ];
    for (key, error) in cases {
        assert_eq!(error.key, key, "{error}");
        assert!(error.reason.contains("expected") || error.reason.contains("of no use"), "{error}");
    }
}

#[test]
fn a_token_is_never_shown() {
    let config = Config { token: Some("hush-1234".to_owned().into()), ..Config::default() };
    assert!(!format!("{config:?}").contains("hush"));
}

#[test]
fn services_are_chosen_by_patterns() {
    let mut config = Config::default();
    assert!(config.follows("web") && !config.follows("consul"));
    config.include = vec!["web*".into()];
    config.exclude = vec!["*-canary".into()];
    assert!(config.follows("web-eu") && !config.follows("web-canary") && !config.follows("db"));
}
