use super::*;

fn host() -> Hostname {
    "a.local".parse().unwrap()
}

fn description(json: &str) -> Description {
    Description::parse(json.as_bytes()).unwrap()
}

fn instances(list: &[(&'static str, &str)]) -> Vec<(&'static str, Instance)> {
    list.iter().map(|(id, json)| (*id, Instance::parse(json.as_bytes()).unwrap())).collect()
}

/// The service's ports and its endpoints' addresses and ports, in short, and what was left out.
fn built(description: Option<&Description>, list: &[(&'static str, &str)]) -> (String, Vec<Said>) {
    let outcome = outcome(description, list, &Settled::default());
    (shown(&outcome), outcome.left_out)
}

fn outcome(description: Option<&Description>, list: &[(&'static str, &str)], before: &Settled) -> Outcome {
    let list = instances(list);
    service(&host(), description, list.iter().map(|(id, instance)| (*id, instance)), before)
}

fn shown(outcome: &Outcome) -> String {
    let Some(service) = &outcome.service else { return String::new() };
    let ports = service.ports.iter().map(|port| format!("{}/{}/{}", port.number, port.name, port.protocol));
    let endpoints = service.endpoints.iter().map(|one| {
        let ports: Vec<_> = one.ports.iter().map(|(service, own)| format!("{service}={own}")).collect();
        format!("{}:{}", one.address, ports.join("+"))
    });
    ports.chain(endpoints).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_description_says_which_ports_there_are() {
    let two = description(
        r#"{"ports": [{"number": 80, "name": "web", "protocol": "http"}, {"number": 81, "protocol": "grpc"}]}"#,
    );
    let (shown, left_out) = built(
        Some(&two),
        &[
            ("all", r#"{"address": "10.0.0.1"}"#),
            ("by-name", r#"{"address": "10.0.0.2", "ports": {"web": 8080, "81": 8081}}"#),
            ("same-number", r#"{"address": "10.0.0.3", "port": 81}"#),
            ("which", r#"{"address": "10.0.0.4", "port": 8080}"#),
            ("unknown", r#"{"address": "10.0.0.5", "ports": {"wbe": 8080}}"#),
        ],
    );
    let expected = "80/web/http 81/grpc-81/grpc 10.0.0.1:80=80+81=81 10.0.0.2:80=8080+81=8081 10.0.0.3:81=81";
    assert_eq!(shown, expected);
    let [(which, why_which), (unknown, why_unknown)] = left_out.as_slice() else { panic!("{left_out:?}") };
    assert_eq!((which.as_str(), unknown.as_str()), ("which", "unknown"));
    assert!(why_which.contains("say which with \"ports\": {\"web\": 8080}"), "{why_which}");
    assert!(why_unknown.contains("no port \"wbe\": expected one of 80 (web), 81 (grpc-81)"), "{why_unknown}");
}

#[test]
fn without_a_description_the_instances_say_it() {
    let (shown, left_out) = built(
        None,
        &[
            ("a", r#"{"address": "10.0.0.1", "ports": {"http": 8081, "admin": 9000}}"#),
            ("b", r#"{"address": "10.0.0.2", "ports": {"http": 8080}}"#),
            ("c", r#"{"address": "10.0.0.3", "port": 9000}"#),
        ],
    );
    let expected =
        "8080/http/http 9000/admin/tcp 10.0.0.1:8080=8081+9000=9000 10.0.0.2:8080=8080 10.0.0.3:9000=9000";
    assert_eq!((shown.as_str(), left_out.len()), (expected, 0));
    let (shown, left_out) = built(
        None,
        &[
            ("a", r#"{"address": "10.0.0.1", "port": 8081, "protocol": "grpc"}"#),
            ("b", r#"{"address": "10.0.0.2", "port": 8080}"#),
            ("c", r#"{"address": "10.0.0.3"}"#),
        ],
    );
    assert_eq!(shown, "8080/grpc-8080/grpc 10.0.0.1:8080=8081 10.0.0.2:8080=8080");
    let [(id, why)] = left_out.as_slice() else { panic!("{left_out:?}") };
    assert!(id == "c" && why.contains("expected port or ports"), "{left_out:?}");
}

#[test]
fn an_instance_that_does_not_fit_is_left_out_alone() {
    let one = description(r#"{"ports": [{"number": 80, "protocol": "http"}]}"#);
    let (shown, left_out) = built(
        Some(&one),
        &[
            ("a", r#"{"address": "10.0.0.1", "port": 8080}"#),
            ("b", r#"{"address": "10.0.0.1", "port": 8080, "health": "unhealthy"}"#),
            ("c", r#"{"address": "db.example.com", "port": 8080}"#),
        ],
    );
    assert_eq!(shown, "80/http-80/http 10.0.0.1:80=8080");
    let ids: Vec<&str> = left_out.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["c"]);
    assert!(left_out[0].1.contains("needs resolution \"dns\""), "{left_out:?}");
}

#[test]
fn what_was_left_behind_does_not_hide_the_one_that_lives() {
    let one = |health: &str, weight| {
        format!(r#"{{"address": "10.0.0.1", "port": 80, "health": "{health}", "weight": {weight}}}"#)
    };
    for (a, b, kept) in [
        (one("unhealthy", 9), one("healthy", 1), "b"),
        (one("draining", 1), one("unknown", 1), "b"),
        (one("healthy", 1), one("healthy", 2), "b"),
        (one("healthy", 1), one("warning", 1), "a"),
        (one("unknown", 1), one("unhealthy", 1), "a"),
    ] {
        let both = [("a", a.as_str()), ("b", b.as_str())];
        let list = instances(&both);
        let Outcome { service, notes, .. } = outcome(None, &both, &Settled::default());
        let expected = &list.iter().find(|(id, _)| *id == kept).unwrap().1;
        let service = service.unwrap();
        let endpoints = &service.endpoints;
        assert_eq!((endpoints.len(), endpoints[0].health), (1, expected.health), "{a} {b}");
        assert_eq!(endpoints[0].weight, expected.weight);
        assert_eq!(notes.len(), 1);
        assert!(notes[0].1.contains(&format!("instance {kept:?} is at the same address")), "{notes:?}");
    }
}

#[test]
fn a_protocol_that_no_instance_says_is_a_guess() {
    let guessed = |instance: &str| {
        let outcome = outcome(None, &[("a", instance)], &Settled::default());
        outcome.service.unwrap().guessed_protocols.len()
    };
    assert_eq!(guessed(r#"{"address": "10.0.0.1", "port": 80}"#), 1);
    assert_eq!(guessed(r#"{"address": "10.0.0.1", "port": 80, "protocol": "tcp"}"#), 0);
    assert_eq!(guessed(r#"{"address": "10.0.0.1", "ports": {"grpc": 80, "admin": 81}}"#), 1);
}

/// Which of two instances is there first, or stays, decides nothing about what clients call.
#[test]
fn a_port_keeps_its_number_and_protocol_whoever_comes_and_goes() {
    let (first, second) = (
        ("a", r#"{"address": "10.0.0.1", "port": 21111, "protocol": "grpc"}"#),
        ("b", r#"{"address": "10.0.0.1", "port": 21112, "protocol": "http2"}"#),
    );
    let both = outcome(None, &[first, second], &Settled::default());
    let about = "served at port 21111, which was guessed (that of an instance). Say which port clients call: \
                 write a description of the service; its instances say different protocols of port 21111: \
                 grpc, http2; grpc counts";
    assert_eq!(both.about.as_deref(), Some(about));
    assert_eq!(both.service.as_ref().unwrap().guessed.len(), 1);
    let one = outcome(None, &[second], &both.settled);
    assert_eq!(shown(&one), "21111/http2-21111/http2 10.0.0.1:21111=21112", "nobody speaks gRPC any more");
    assert!(one.about.unwrap().contains("that of an instance at first"));
    let silent = ("c", r#"{"address": "10.0.0.3", "port": 80}"#);
    let none = outcome(None, &[silent], &one.settled);
    assert_eq!(shown(&none), "21111/tcp-21111/tcp 10.0.0.3:21111=80", "nobody says it any more");
    let lower = ("0", r#"{"address": "10.0.0.4", "port": 80, "protocol": "grpc"}"#);
    let more = outcome(None, &[lower, first], &both.settled);
    assert_eq!(more.service.unwrap().ports[0].number.get(), 21_111);
}

/// A word of one instance does not change what the others speak, and goes with that instance.
#[test]
fn one_instance_with_a_wrong_word_changes_no_protocol() {
    let silent =
        [("a", r#"{"address": "10.0.0.1", "port": 80}"#), ("b", r#"{"address": "10.0.0.2", "port": 80}"#)];
    let http = |id| (id, r#"{"address": "10.0.0.3", "port": 80, "protocol": "http"}"#);
    let wrong = [silent[0], silent[1], http("c")];
    let protocol = |outcome: &Outcome| outcome.service.as_ref().unwrap().ports[0].protocol.to_string();
    let settled = outcome(None, &silent, &Settled::default()).settled;
    for before in [&settled, &Settled::default()] {
        let mixed = outcome(None, &wrong, before);
        let about = "its instances say different protocols of port 80: http, none; tcp counts";
        assert_eq!((protocol(&mixed).as_str(), mixed.about.as_deref()), ("tcp", Some(about)));
    }
    let all = outcome(None, &[http("c"), http("d")], &settled);
    assert_eq!(protocol(&all), "http", "all say it");
    let mixed = outcome(None, &wrong, &all.settled);
    assert_eq!((protocol(&mixed).as_str(), mixed.about), ("http", None), "it stays");
    assert_eq!(protocol(&outcome(None, &silent, &mixed.settled)), "tcp", "nobody says it any more");
}

#[test]
fn a_named_port_has_its_number_again_when_it_is_back() {
    let web = |port: u16| format!(r#"{{"address": "10.0.0.1", "ports": {{"web": {port}}}}}"#);
    let admin = ("b", r#"{"address": "10.0.0.2", "ports": {"admin": 9000}}"#);
    let both = outcome(None, &[("a", &web(8081)), admin], &Settled::default());
    let one = outcome(None, &[admin], &both.settled);
    assert_eq!(shown(&one), "9000/admin/tcp 10.0.0.2:9000=9000");
    let back = outcome(None, &[("a", &web(8080)), admin], &one.settled);
    assert!(shown(&back).starts_with("8081/web/tcp 9000/admin/tcp"), "{}", shown(&back));
}

#[test]
fn a_description_that_goes_leaves_the_number() {
    let one = description(r#"{"ports": [{"number": 80, "name": "web", "protocol": "http"}]}"#);
    let instance = [("a", r#"{"address": "10.0.0.1", "port": 8080}"#)];
    let described = outcome(Some(&one), &instance, &Settled::default());
    let alone = outcome(None, &instance, &described.settled);
    assert_eq!(shown(&alone), "80/http-80/http 10.0.0.1:80=8080");
}

#[test]
fn nothing_is_no_service_and_a_description_alone_is_one() {
    assert_eq!(built(None, &[]), (String::new(), vec![]));
    let one = description(r#"{"ports": [{"number": 80, "protocol": "http"}]}"#);
    assert_eq!(built(Some(&one), &[]).0, "80/http-80/http");
    let twice = r#"{"ports": [{"number": 80, "protocol": "http"}, {"number": 80, "protocol": "tcp"}]}"#;
    assert!(check(&host(), &description(twice)).unwrap_err().contains("twice"));
}

#[test]
fn unknown_fields_and_contradictions_name_the_field() {
    for (json, why) in [
        (r#"{"address": "10.0.0.1", "prot": 80}"#, "unknown field `prot`"),
        (r#"{"address": "10.0.0.1", "locality": {"zon": "a"}}"#, "unknown field `zon`"),
        (r#"{"port": 80}"#, "missing field `address`"),
        (r#"{"address": "10.0.0.1", "port": 0}"#, "port 0 is not a port"),
        (r#"{"address": "10.0.0.1", "weight": 0}"#, "weight 0 is out of range"),
        (r#"{"address": "10.0.0.1", "health": "good"}"#, "unknown variant `good`"),
        (r#"{"address": "10.0.0.1", "port": 80, "ports": {"http": 80}}"#, "expected port or ports"),
        (r#"{"address": "10.0.0.1", "protocol": "http"}"#, "protocol without port"),
        (r#"{"address": "10.0.0.1", "ports": {"a": 80}, "protocols": {"b": "http"}}"#, "\"b\""),
        ("", "EOF"),
    ] {
        let error = Instance::parse(json.as_bytes()).unwrap_err();
        assert!(error.contains(why), "{json}: {error}");
    }
    let error = Description::parse(br#"{"ports": [{"number": 80, "protocl": "http"}]}"#).unwrap_err();
    assert!(
        error.contains("unknown field `protocl`, expected one of `number`, `name`, `protocol`"),
        "{error}"
    );
}
