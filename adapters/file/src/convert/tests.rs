use std::time::Duration;

use pilot_registry::{Address, Health, HealthCheck, Port, Probe, Protocol, Resolution};

use super::*;

fn port(number: u32) -> Port {
    Port::try_from(number).unwrap()
}

fn toml(text: &str) -> Vec<Entry> {
    entries(text, Format::Toml).unwrap()
}

/// The only service of the text.
fn good(text: &str) -> Arc<Service> {
    match toml(text).remove(0).service {
        Ok(service) => service,
        Err(mistakes) => panic!("{mistakes:?}"),
    }
}

/// What is wrong with the only service, as line:column: message.
fn mistakes(text: &str) -> Vec<String> {
    let mistakes = toml(text).remove(0).service.unwrap_err();
    mistakes.iter().map(|m| format!("{}:{}: {}", m.at.line, m.at.column, m.message)).collect()
}

/// A service with one port and one more line.
fn with(line: &str) -> String {
    format!("[[service]]\nhost = \"a.local\"\nports = [{{ port = 80, protocol = \"http\" }}]\n{line}\n")
}

/// A service with two ports and one endpoint.
fn two_ports(endpoint: &str) -> String {
    let ports = r#"[{ port = 80, protocol = "HTTP" }, { port = 81, protocol = "tcp", name = "raw" }]"#;
    format!("[[service]]\nhost = \"a.local\"\nports = {ports}\nendpoints = [{endpoint}]\n")
}

#[test]
fn the_simplest_service_is_read() {
    let service = good(
        r#"
        [[service]]
        host = "reviews.local"
        ports = [{ port = 9080, protocol = "http" }]
        endpoints = [
          { address = "127.0.0.1:9181", labels = { version = "v1" } },
          { address = "127.0.0.1:9182", labels = { version = "v2" }, weight = 2, zone = "a" },
        ]"#,
    );
    assert_eq!(service.host.as_str(), "reviews.local");
    assert_eq!(service.ports[0].name, "http-9080");
    let last = &service.endpoints[1];
    assert_eq!((last.weight.get(), last.locality.zone.as_str()), (2, "a"));
    assert_eq!(last.labels["version"], "v2");
    assert_eq!(last.ports, [(port(9080), port(9182))].into());
}

#[test]
fn every_key_of_a_service_is_read() {
    let service = good(&with(
        r#"aliases = ["b.local"]
        addresses = ["10.0.0.1", "fd00::1"]
        resolution = "DNS"
        namespace = "shop"
        export_to = [".", "bank"]
        labels = { app = "a" }
        identities = ["spiffe://local/a"]
        endpoints = [{ address = "db.local:8080", port = 8080 }]"#
            .replace(", port = 8080", ", health = 'Draining', region = 'r', sub_zone = 's'")
            .as_str(),
    ));
    assert_eq!(service.hosts().count(), 2);
    assert_eq!(service.virtual_addresses.len(), 2);
    assert_eq!(service.resolution, Resolution::Dns);
    assert_eq!((service.namespace.as_str(), service.labels["app"].as_str()), ("shop", "a"));
    assert_eq!(service.visibility.to_string(), "namespace bank, shop");
    assert_eq!(service.identities[0].as_str(), "spiffe://local/a");
    let endpoint = &service.endpoints[0];
    assert_eq!(endpoint.health, Health::Draining);
    assert_eq!((endpoint.locality.region.as_str(), endpoint.locality.sub_zone.as_str()), ("r", "s"));
}

#[test]
fn addresses_are_read_in_every_form() {
    for (text, address, own) in [
        ("127.0.0.1", "127.0.0.1", 80),
        ("127.0.0.1:81", "127.0.0.1", 81),
        ("::1", "::1", 80),
        ("[::1]", "::1", 80),
        ("[::1]:81", "::1", 81),
        ("::ffff:10.0.0.1", "10.0.0.1", 80),
        ("[::ffff:10.0.0.1]:81", "10.0.0.1", 81),
        ("unix:/run/a.sock", "unix:/run/a.sock", 80),
    ] {
        let service = good(&with(&format!("endpoints = [{{ address = \"{text}\" }}]")));
        let endpoint = &service.endpoints[0];
        assert_eq!(endpoint.address, address.parse::<Address>().unwrap(), "{text}");
        assert_eq!(endpoint.ports, [(port(80), port(own))].into(), "{text}");
    }
}

#[test]
fn endpoints_of_several_ports_say_which_they_serve() {
    let all = good(&two_ports("{ address = '::1' }"));
    assert_eq!(all.endpoints[0].ports, [(port(80), port(80)), (port(81), port(81))].into());
    assert_eq!(all.ports[0].protocol, Protocol::Http);
    let some = good(&two_ports("{ address = '::1', ports = { 80 = 8080, raw = 8081 } }"));
    assert_eq!(some.endpoints[0].ports, [(port(80), port(8080)), (port(81), port(8081))].into());
    let one = good(&two_ports("{ address = '::1', ports = { raw = 8081 } }"));
    assert_eq!(one.endpoints[0].ports, [(port(81), port(8081))].into());
}

#[test]
fn each_mistake_says_where_and_what_was_expected() {
    let plain = with("");
    let cases = [
        (plain.replace("a.local", "a b"), "2:8: host \"a b\" is not a DNS name"),
        (plain.replace("host = \"a.local\"\n", ""), "1:1: a service without host"),
        (plain.replace("port = 80", "port = 0"), "3:19: port 0 is not a port: expected 1 to 65535"),
        (plain.replace("port = 80", "port = 70000"), "3:19: port 70000 is not a port"),
        (plain.replace("port = 80", "port = \"80\""), "3:19: port: expected an integer, found text"),
        (plain.replace("\"http\"", "\"htp\""), "3:34: unknown protocol \"htp\": expected one of http, http2"),
        (plain.replace(", protocol = \"http\"", ""), "3:10: a port without protocol: expected one of http"),
        (
            with("endpoints = ['10.0.0.1:1']"),
            "4:14: an endpoint: expected a table like { address = \"127.0.0.1:8080\" }",
        ),
        (
            plain.replace("{ port = 80, protocol = \"http\" }", "80"),
            "3:10: a port: expected a table like { port = 80, protocol = \"http\" }",
        ),
        (
            with("endpoints = [{ address = '::1:26081' }]"),
            "an IPv6 address with a port stands in brackets, like [::1]:8080",
        ),
        (plain.replace("a.local", "a.local:80"), "2:8: host \"a.local:80\" is not a DNS name: it has a port"),
        (with("endpoint = []"), "4:1: unknown key \"endpoint\": did you mean \"endpoints\"?"),
        (with("weird = []"), "4:1: unknown key \"weird\": expected one of host, aliases"),
        (with("endpoints = [{ zone = 'a' }]"), "4:14: an endpoint without address"),
        (with("endpoints = [{ address = '1.2.3' }]"), "4:26: address \"1.2.3\" is not an address"),
        (with("endpoints = [{ address = '::1', weight = 0 }]"), "4:42: weight 0 is out of range"),
        (with("endpoints = [{ address = '::1', weight = -1 }]"), "4:42: weight -1 is out of range"),
        (with("endpoints = [{ address = '10.0.0.1:0' }]"), "4:26: port 0 is not a port"),
        (with("endpoints = [{ address = '10.0.0.1:x' }]"), "4:26: port x is not a port"),
        (with("endpoints = [{ address = 'db.local' }]"), "needs resolution \"dns\""),
        (with("endpoints = [{ address = '10.0.0.1:1', port = 2 }]"), "4:26: the port is said twice"),
        (with("endpoints = [{ address = 'unix:/a', port = 2 }]"), "4:26: a Unix socket has no port"),
        (
            with("endpoints = [{ address = '::1', ports = { 90 = 2 } }]"),
            "4:43: the service has no port \"90\"",
        ),
        (with("endpoints = [{ address = '::1', health = 'ill' }]"), "4:42: unknown health \"ill\": expected"),
        (
            with("endpoints = [{ address = '::1', labels = { v = 1 } }]"),
            "label \"v\": expected text in quotes",
        ),
        (
            with("endpoints = [{ address = 'http://127.0.0.1:26700/x' }]"),
            "4:26: an endpoint is host and port, not a URL: write \"127.0.0.1:26700\"",
        ),
        (with("endpoints = [{ address = 'https://a.b' }]"), "not a URL: write \"a.b:443\""),
        (
            with("endpoints = [{ address = 'localhost:26700' }]"),
            "4:14: endpoint localhost of service a.local: localhost is a name: write 127.0.0.1 or ::1",
        ),
        (
            with("endpoints = [{ address = '0.0.0.0:80' }]"),
            "4:26: address \"0.0.0.0\" is not an address: it stands",
        ),
        (plain.replace("\"http\"", "\"postgres\""), "3:34: unknown protocol \"postgres\": write \"tcp\""),
        (plain.replace("\"http\"", "\"https\""), "3:34: unknown protocol \"https\": write \"tls\""),
        (with("resolution = 'magic'"), "4:14: unknown resolution \"magic\": expected one of endpoints, dns"),
        (with("addresses = ['db.local']"), "4:14: address \"db.local\" is not an IPv4 or IPv6 address"),
        (with("identities = ['me']"), "4:15: identity \"me\" is not a SPIFFE id"),
        (with("namespace = 'a b'"), "4:13: namespace \"a b\" is not a namespace"),
        (with("export_to = '.'"), "4:13: export_to: expected a list, found text"),
        (with("export_to = []"), "4:13: export_to: it is empty; expected \"*\" (everybody), \".\""),
        (with("export_to = ['*', 'shop']"), "4:13: export_to: \"*\" and \"~\" stand alone"),
        (with("export_to = ['a b']"), "4:13: export_to: \"a b\" is no namespace"),
        (with("export_to = [1]"), "4:14: export_to: expected text in quotes, found an integer"),
        (with("labels = []"), "4:10: labels: expected a table, found a list"),
        (
            two_ports("{ address = '10.0.0.1:8080' }"),
            "4:26: port 8080 of an endpoint whose service has 2 ports",
        ),
        (plain.replace("{ port = 80, protocol = \"http\" }", ""), "3:9: ports is empty"),
    ];
    for (text, expected) in cases {
        let found = mistakes(&text);
        assert!(found.iter().any(|message| message.contains(expected)), "{expected}\n{text}\n{found:?}");
    }
}

#[test]
fn all_mistakes_of_an_entry_are_told_and_its_siblings_stand() {
    let bad = with("endpoints = [{ address = 'x y' }, { address = '::1', weight = 0 }]\nzone = 'a'");
    let found = toml(&(bad + &with("").replace("a.local", "b.local")));
    assert_eq!(found[0].service.as_ref().unwrap_err().len(), 3);
    assert_eq!(found[0].id.as_ref().unwrap().host.as_str(), "a.local");
    assert!(found[1].service.is_ok());
    let ports = "[[service]]\nhost = 'a.local'\nports = [{ port = 0, protocol = 'x' }, { port = 1, protocol = 'y' }]\n\
                 endpoints = [{ address = '0.0.0' }]\n";
    assert_eq!(mistakes(ports).len(), 4, "{:?}", mistakes(ports));
    let own = "endpoints = [{ address = '10.0.0.1', ports = { 81 = 8080, 80 = 0 } }]";
    assert_eq!(mistakes(&with(own)).len(), 2, "{:?}", mistakes(&with(own)));
}

#[test]
fn what_is_no_list_of_services_is_refused_as_a_whole() {
    for (text, format, expected) in [
        ("", Format::Toml, "the file is empty"),
        (" \n", Format::Yaml, "the file is empty"),
        ("# nothing\n", Format::Toml, "the file has no \"service\""),
        ("[[services]]\n", Format::Toml, "unknown key \"services\": did you mean \"service\"?"),
        ("[service]\n", Format::Toml, "expected a list of services, found a table: write [[service]]"),
        (
            "service:\n  host: a",
            Format::Yaml,
            "expected a list of services, found a table: write \"- \" before each",
        ),
        ("service = 1", Format::Toml, "expected a list of services, found an integer"),
        ("service:\n", Format::Yaml, "expected a list of services, found nothing"),
        ("[]", Format::Json, "the file is a list: write it below the key `\"service\":`"),
        ("- host: a.local", Format::Yaml, "the file is a list: write it below the key `service:`"),
        ("---\n---\n", Format::Yaml, "the file has no \"service\""),
        ("service: []\n---\n- host: a.local", Format::Yaml, "this document is a list: expected a table with"),
        ("service: []\n---\nservices: []", Format::Yaml, "this document has no list `service:`"),
        ("service: []\n---\nservice: 1", Format::Yaml, "expected a list of services, found an integer"),
        ("service: []\n---\nservice: []\nx: 1", Format::Yaml, "unknown key \"x\""),
    ] {
        let mistake = entries(text, format).unwrap_err();
        assert!(mistake.message.contains(expected), "{text:?}: {}", mistake.message);
    }
}

/// The example is what was written, as it can be copied: it is a file of its own that makes sense.
#[test]
fn a_table_in_place_of_the_list_is_told_the_list_that_was_meant() {
    let one = "{port: 80, protocol: http}";
    for (text, format, host, endpoints) in [
        ("reviews: 127.0.0.1:9080".to_owned(), Format::Yaml, "reviews", "127.0.0.1:9080"),
        (
            "reviews: http://localhost:8000/\nratings: '[::1]:9081'".into(),
            Format::Yaml,
            "reviews",
            "127.0.0.1:8000",
        ),
        ("a.local: ['10.0.0.1:1', 'b.local:2']".into(), Format::Yaml, "a.local", "10.0.0.1:1 b.local:2"),
        (format!("host: a.local\nports: [{one}]"), Format::Yaml, "a.local", ""),
        (
            format!("a.local:\n  ports: [{one}]\n  endpoints: [{{address: '10.0.0.1'}}]"),
            Format::Yaml,
            "a.local",
            "10.0.0.1:80",
        ),
        (format!("service:\n  host: a.local\n  ports: [{one}]"), Format::Yaml, "a.local", ""),
        (format!("service:\n  a.local:\n    ports: [{one}]"), Format::Yaml, "a.local", ""),
        ("service:\n  reviews: 127.0.0.1:9080".into(), Format::Yaml, "reviews", "127.0.0.1:9080"),
        ("reviews = '127.0.0.1:9080'".into(), Format::Toml, "reviews", "127.0.0.1:9080"),
        ("[service]\nreviews = '127.0.0.1:9080'".into(), Format::Toml, "reviews", "127.0.0.1:9080"),
        ("{\"reviews\": \"127.0.0.1:9080\"}".into(), Format::Json, "reviews", "127.0.0.1:9080"),
    ] {
        let message = entries(&text, format).unwrap_err().message;
        let example = message.rfind(if format == Format::Json { "{\"service\"" } else { "service" });
        let example = &message[example.unwrap()..];
        let service = entries(example, format).unwrap_or_else(|error| panic!("{message}: {error:?}"));
        let service = service[0].service.as_ref().unwrap_or_else(|error| panic!("{message}: {error:?}"));
        let shown = |endpoint: &pilot_registry::Endpoint| {
            endpoint.ports.values().map(|own| format!("{}:{own}", endpoint.address)).collect::<String>()
        };
        let found: Vec<_> = service.endpoints.iter().map(shown).collect();
        assert_eq!((service.id().host.as_str(), found.join(" ").as_str()), (host, endpoints), "{message}");
    }
    let long = format!("host: a.local\naliases: [{}]", "long.example.com, ".repeat(40));
    let message = entries(&long, Format::Yaml).unwrap_err().message;
    assert!(
        message.ends_with("expected the list of services: service: [{host: \"a.local\", ...}]"),
        "{message}"
    );
    for other in ["version: 3\nname: shop", "services:\n  host: a.local", "a: {b: c}", "a: b"] {
        let message = entries(other, Format::Yaml).unwrap_err().message;
        assert!(message.starts_with("unknown key") && !message.contains('['), "{message}");
    }
}

/// The endpoints of the only service, and what is said of those that are left out.
fn doubles(endpoints: &str) -> (Vec<String>, Vec<String>) {
    let entry = toml(&with(&format!("endpoints = [{endpoints}]"))).remove(0);
    let shown = |endpoint: &pilot_registry::Endpoint| {
        endpoint.ports.values().map(|own| format!("{} {own}", endpoint.address)).collect::<String>()
    };
    let endpoints = entry.service.unwrap().endpoints.iter().map(shown).collect();
    let told = entry.doubles.iter().map(|m| format!("{}:{}: {}", m.at.line, m.at.column, m.message));
    (endpoints, told.collect())
}

#[test]
fn one_address_with_two_ports_is_two_endpoints() {
    let (endpoints, told) = doubles("{ address = '10.0.0.1:81' }, { address = '10.0.0.1:82' }");
    assert_eq!(endpoints, ["10.0.0.1 81", "10.0.0.1 82"]);
    assert_eq!(told, [""; 0]);
}

#[test]
fn of_two_endpoints_with_one_address_and_port_one_counts_and_the_second_is_named() {
    for second in ["10.0.0.1:81", "::ffff:10.0.0.1:81', weight = 2, zone = 'a"] {
        let second = second.replace("::ffff:10.0.0.1:81", "[::ffff:10.0.0.1]:81");
        let (endpoints, told) =
            doubles(&format!("{{ address = '10.0.0.1:81' }},\n {{ address = '{second}' }}"));
        assert_eq!(endpoints, ["10.0.0.1 81"], "{second}");
        assert_eq!(told, ["5:2: endpoint 10.0.0.1 port 81 is there twice: line 4 has it already"]);
    }
    let overlap = "{ address = '::1' }, { address = '::1', ports = { raw = 81 } }, { address = '::2' }";
    let entry = toml(&two_ports(overlap)).remove(0);
    assert_eq!(entry.service.unwrap().endpoints.len(), 2);
    assert_eq!(entry.doubles.len(), 1);
}

#[test]
fn no_services_is_a_valid_file() {
    for (text, format) in
        [("service = []", Format::Toml), ("service: []", Format::Yaml), ("{\"service\": []}", Format::Json)]
    {
        assert!(entries(text, format).unwrap().is_empty());
    }
}

#[test]
fn the_formats_say_the_same() {
    let yaml = "
service:
- host: a.local
  ports: [{port: 80, protocol: http}]
  endpoints:
  - {address: '10.0.0.1', ports: {80: 8080}, labels: {version: v1}}
";
    let json = r#"{"service": [{"host": "a.local", "ports": [{"port": 80, "protocol": "http"}],
        "endpoints": [{"address": "10.0.0.1", "ports": {"80": 8080}, "labels": {"version": "v1"}}]}]}"#;
    let endpoint = "endpoints = [{ address = '10.0.0.1:8080', labels = { version = 'v1' } }]";
    let expected = good(&with(endpoint));
    for (text, format) in [(yaml, Format::Yaml), (json, Format::Json)] {
        assert_eq!(*entries(text, format).unwrap().remove(0).service.unwrap(), *expected, "{format:?}");
    }
}

#[test]
fn a_health_check_is_one_of_three_kinds() {
    let check = |line: &str| good(&with(&format!("health_check = {line}"))).health_check.clone().unwrap();
    let usual = HealthCheck::new(Probe::Http("/healthz".to_owned()));
    assert_eq!(check(r#"{ http = "/healthz" }"#), usual);
    assert_eq!(check("{ tcp = true }"), HealthCheck { probe: Probe::Tcp, ..usual.clone() });
    let all = r#"{ grpc = "shop.Cart", port = 81, interval = "1m", timeout = "500ms", failures = 1, successes = 2 }"#;
    let expected = HealthCheck {
        probe: Probe::Grpc("shop.Cart".to_owned()),
        port: Some(port(81)),
        interval: Duration::from_secs(60),
        timeout: Duration::from_millis(500),
        failures: 1.try_into().unwrap(),
        successes: 2.try_into().unwrap(),
    };
    assert_eq!(check(all), expected);
    assert_eq!(good(&with("")).health_check, None);
}

#[test]
fn a_wrong_health_check_is_told_with_what_was_expected() {
    for (line, told) in [
        ("{}", "4:16: health_check of 0 kinds: expected one of http"),
        (r#"{ http = "/", tcp = true }"#, "4:16: health_check of 2 kinds: expected one of http"),
        (r#"{ http = "healthz" }"#, "4:25: \"healthz\" is no path: expected one like \"/healthz\""),
        ("{ tcp = false }", "4:24: tcp: expected tcp = true"),
        ("{ tcp = true, every = '5s' }", "4:30: unknown key \"every\""),
        ("{ tcp = true, interval = '0s' }", "4:41: health_check interval 0 makes no sense"),
        ("{ tcp = true, interval = 'often' }", "4:41: health_check interval: \"often\" is not a duration"),
        ("{ tcp = true, failures = 0 }", "4:41: health_check failures 0 makes no sense"),
        ("{ tcp = true, port = 0 }", "4:37: health_check port 0 is not a port"),
        ("true", "4:16: health_check: expected a table like { http = \"/healthz\" }"),
        // Of the service: nobody answers that at its only port.
        (r#"{ grpc = "" }"#, "4:16: health_check of service a.local: no port of it answers grpc"),
    ] {
        let found = mistakes(&with(&format!("health_check = {line}")));
        assert!(found.iter().any(|mistake| mistake.starts_with(told)), "{line}: {found:?}");
    }
}

#[test]
fn a_host_is_rewritten_only_to_a_name() {
    assert!(good(&with("resolution = 'dns'\nrewrite_host = true")).rewrite_host);
    assert!(!good(&with("resolution = 'dns'")).rewrite_host);
    let told = mistakes(&with("rewrite_host = true"));
    assert!(
        told[0].starts_with("4:16: rewrite_host of service a.local: only endpoints that are names"),
        "{told:?}"
    );
    assert_eq!(
        mistakes(&with("rewrite_host = 'yes'")),
        ["4:16: rewrite_host: expected true or false, found text"]
    );
}

#[test]
fn the_schema_names_the_keys_that_are_read() {
    let schema = serde_json::to_value(crate::schema()).unwrap();
    for (part, known) in [
        ("/properties", DOCUMENT_KEYS),
        ("/$defs/Service/properties", service::KEYS),
        ("/$defs/Port/properties", service::PORT_KEYS),
        ("/$defs/Endpoint/properties", endpoint::KEYS),
        ("/$defs/HealthCheck/properties", health_check::KEYS),
    ] {
        let mut known = known.to_vec();
        known.sort_unstable();
        let mut found: Vec<_> = schema.pointer(part).unwrap().as_object().unwrap().keys().collect();
        found.sort_unstable();
        assert_eq!(found, known, "{part}");
    }
    let schema = schema.to_string();
    let words = Protocol::ALL.map(Protocol::as_str).into_iter();
    let words = words.chain(endpoint::HEALTHS.iter().map(|(word, _)| *word));
    for word in words.chain(service::RESOLUTIONS.iter().map(|(word, _)| *word)) {
        assert!(schema.contains(&format!("\"{word}\"")), "{word}");
    }
}
