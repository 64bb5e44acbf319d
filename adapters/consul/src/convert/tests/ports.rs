//! Ports: what is declared, configured, guessed, and what stays whoever comes and goes.

use pilot_registry::{Port, Protocol, Resolution};

use super::*;
use crate::DefaultPort;

/// Each with an id, a port, and what its port is called.
fn ported(all: &[(&str, u16, &str)]) -> Vec<Value> {
    let one = |(id, port, name): &(&str, u16, &str)| {
        let meta = json!({ "port_name": name });
        entry(id, json!({ "Port": port, "Address": format!("10.0.0.{id}"), "Meta": meta }))
    };
    all.iter().map(one).collect()
}

fn made_of(entries: &[Value], before: &Settled, config: &Config) -> Built {
    made(&content("web", json!(entries).to_string().as_bytes(), config).unwrap(), before, config)
}

fn built_after(all: &[(&str, u16, &str)], before: &Settled) -> Built {
    made_of(&ported(all), before, &Config::default())
}

/// The service's ports, in short; those that were guessed with a question mark.
fn ports(built: &Built) -> Vec<String> {
    let guessed = &built.service.guessed;
    let mark = |number| if guessed.contains(number) { "?" } else { "" };
    let ports = built.service.ports.iter();
    ports.map(|port| format!("{}{}/{}", port.number, mark(&port.number), port.protocol)).collect()
}

fn numbers(built: &Built) -> Vec<u16> {
    built.service.ports.iter().map(|port| port.number.get()).collect()
}

fn with_default(default: DefaultPort) -> Config {
    Config { service_port: Some(default), ..Config::default() }
}

fn port(number: u32) -> Port {
    Port::try_from(number).unwrap()
}

/// Meta, a tag or the port's name says it.
#[test]
fn a_protocol_that_no_instance_says_is_a_guess() {
    let at = |fields: Value| made_of(&[entry("1", fields)], &Settled::default(), &Config::default());
    let guessed = |fields: Value| at(fields).service.guessed_protocols.len();
    assert_eq!(guessed(json!({ "Port": 9080, "Meta": { "service_port": "9080" } })), 1);
    assert_eq!(guessed(json!({ "Port": 9080, "Meta": { "protocol": "tcp" } })), 0);
    assert_eq!(guessed(json!({ "Port": 9080, "Tags": ["http"] })), 0);
    assert_eq!(guessed(json!({ "Port": 9080, "Meta": { "port_name": "http" } })), 0);
}

#[test]
fn ports_that_differ_are_one_port_of_the_service() {
    let at = |id: &str, port: u16| {
        entry(id, json!({ "Port": port, "Address": format!("10.0.0.{id}"), "Tags": ["http"] }))
    };
    let service =
        built(&[at("1", 20_001), at("2", 8080), at("3", 8080), at("4", 20_004)], &Config::default());
    let ports: Vec<u16> = service.ports.iter().map(|port| port.number.get()).collect();
    assert_eq!(ports, [8080], "most listen there");
    let own: Vec<u16> =
        service.endpoints.iter().map(|one| one.ports[&service.ports[0].number].get()).collect();
    assert_eq!(own, [20_001, 8080, 8080, 20_004]);

    let mut declared = at("1", 20_001);
    declared["Service"]["Meta"] = json!({ "service_port": "80" });
    let service = built(&[declared, at("2", 8080)], &Config::default());
    assert_eq!(service.ports.len(), 2, "one is declared, the other is not");
    assert_eq!(service.guessed, [port(8080)].into());
}

#[test]
fn an_instance_is_reached_whatever_its_port_is_called() {
    let service = built(&ported(&[("1", 8080, ""), ("2", 8080, "http")]), &Config::default());
    let ports: Vec<u16> = service.ports.iter().map(|port| port.number.get()).collect();
    assert_eq!((ports, service.endpoints.len()), (vec![8080], 2));
    let three = [("1", 8080, "a"), ("2", 9090, "b"), ("3", 9090, "c"), ("4", 8080, "c")];
    assert_eq!(built(&ported(&three), &Config::default()).endpoints.len(), 4);
}

/// L3: who comes and goes does not change what clients call.
#[test]
fn l03_a_port_that_nobody_declares_stays() {
    let nothing = Settled::default();
    let first = built_after(&[("1", 21_021, "http"), ("2", 21_022, "http")], &nothing);
    assert_eq!(ports(&first), ["21021?/http"]);
    assert!(first.notes[0].contains("service_port"), "{:?}", first.notes);
    let fewer = built_after(&[("2", 21_022, "http")], &first.settled);
    assert_eq!((numbers(&fewer), fewer.service.endpoints.len()), (vec![21_021], 1));
    assert!(fewer.notes[0].contains("service_port"), "{:?}", fewer.notes);
    let named = built_after(&[("2", 21_022, "http"), ("3", 21_021, "admin")], &first.settled);
    assert_eq!(named.service.endpoints.len(), 2);
    let settled = built_after(&[("1", 8080, "")], &nothing);
    assert_eq!(settled.notes, [""; 0], "there is nothing to say where all listen on one port");
}

#[test]
fn a_guess_is_told_as_one() {
    let built = built_after(&[("1", 26_201, ""), ("2", 26_202, "")], &Settled::default());
    assert_eq!(
        built.notes,
        ["served at port 26201, which was guessed (that of most instances). Say which port clients call: \
         service_port in the meta of its instances, or in this registry's table of pilot.toml"]
    );
    assert_eq!(built.left_out, None);
}

#[test]
fn a_name_has_its_number_again_when_it_is_back() {
    let two = built_after(&[("1", 26_201, "web"), ("2", 9000, "admin")], &Settled::default());
    let one = built_after(&[("2", 9000, "admin")], &two.settled);
    assert_eq!(numbers(&one), [9000]);
    let back = built_after(&[("1", 26_205, "web"), ("2", 9000, "admin")], &one.settled);
    assert_eq!(numbers(&back), [9000, 26_201]);
}

#[test]
fn a_default_port_is_no_guess_and_meta_wins_over_it() {
    let config = with_default(DefaultPort::All(port(80)));
    let dynamic = [("1", 26_201, ""), ("2", 26_202, "")];
    let built = made_of(&ported(&dynamic), &Settled::default(), &config);
    assert_eq!((ports(&built), built.notes.len()), (vec!["80/tcp".to_owned()], 0));
    assert_eq!(built.service.endpoints.len(), 2);
    let mut entries = ported(&dynamic);
    entries[0]["Service"]["Meta"] = json!({ "service_port": "8000" });
    let built = made_of(&entries, &Settled::default(), &config);
    assert_eq!((ports(&built), built.notes.len()), (vec!["80/tcp".to_owned(), "8000/tcp".into()], 0));
}

#[test]
fn the_default_protocol_is_that_of_who_says_none() {
    let config = Config { default_protocol: Protocol::Http, ..Config::default() };
    let of = |all: &[(&str, u16, &str)], before: &Settled| ports(&made_of(&ported(all), before, &config));
    let none = Settled::default();
    assert_eq!(of(&[("1", 80, ""), ("2", 80, "db")], &none), ["80?/http"]);
    assert_eq!(of(&[("1", 80, "grpc")], &none), ["80?/grpc"]);
    assert_eq!(of(&[("1", 80, "tcp"), ("2", 80, ""), ("3", 80, "")], &none), ["80?/http"], "most say none");
    let tagged = made_of(&[entry("1", json!({ "Tags": ["tcp"] }))], &none, &config);
    assert_eq!(ports(&tagged), ["8080?/tcp"]);
    let untagged = made_of(&[entry("1", json!({}))], &tagged.settled, &config);
    assert_eq!(ports(&untagged), ["8080?/http"], "a word that nobody says any more does not stay");
    // The port by protocol is that of the default protocol.
    let http = DefaultPort::ByProtocol([(Protocol::Http, port(80))].into());
    let config = Config { default_protocol: Protocol::Http, ..with_default(http) };
    assert_eq!(ports(&made_of(&ported(&[("1", 26_201, "")]), &none, &config)), ["80/http"]);
}

#[test]
fn a_default_port_by_protocol_is_that_of_what_the_instances_speak() {
    let config = with_default(DefaultPort::ByProtocol(
        [(Protocol::Http, port(80)), (Protocol::Grpc, port(9090))].into(),
    ));
    let dynamic =
        [("1", 26_201, "http"), ("2", 26_202, "http"), ("3", 26_301, "grpc-api"), ("4", 5432, "db")];
    let built = made_of(&ported(&dynamic), &Settled::default(), &config);
    assert_eq!(ports(&built), ["80/http", "5432?/tcp", "9090/grpc"]);
    // Two names for one number: one has it, and keeps it; of the other, the number is a guess.
    let (two, three) = ([("1", 1001, "http-b")], [("1", 1001, "http-b"), ("2", 1002, "http-a")]);
    let first = made_of(&ported(&two), &Settled::default(), &config);
    assert_eq!(ports(&first), ["80/http"]);
    let more = made_of(&ported(&three), &first.settled, &config);
    assert_eq!(ports(&more), ["80/http", "1002?/http"]);
    let name = |built: &Built| built.service.ports[0].name.clone();
    assert_eq!((name(&first), name(&more)), ("http-b".to_owned(), "http-b".to_owned()));
}

#[test]
fn the_default_one_of_several_ports_has_the_default_number() {
    let several =
        json!([{ "Name": "admin", "Port": 9000 }, { "Name": "web", "Port": 8080, "Default": true }]);
    let entries = [entry("1", json!({ "Port": 0, "Ports": several }))];
    let built = made_of(&entries, &Settled::default(), &with_default(DefaultPort::All(port(80))));
    assert_eq!(ports(&built), ["80/tcp", "9000?/tcp"]);
    assert_eq!(built.service.ports[0].name, "web");
}

/// An instance with one tag.
fn tagged(id: &str, tag: &str) -> Value {
    entry(id, json!({ "Address": format!("10.0.0.{id}"), "Tags": [tag], "Meta": { "service_port": "80" } }))
}

#[test]
fn a_protocol_stays_as_long_as_somebody_says_it() {
    let after = |entries: &[Value], before: &Settled| made_of(entries, before, &Config::default());
    let first = after(&[tagged("1", "http")], &Settled::default());
    let mixed = after(&[tagged("1", "http"), tagged("2", "grpc"), tagged("3", "grpc")], &first.settled);
    assert_eq!(ports(&mixed), ["80/http"], "though most say otherwise");
    assert_eq!(mixed.notes, ["its instances say different protocols of port 80: grpc, http; http counts"]);
    let silent = after(&[tagged("4", "blue")], &mixed.settled);
    assert_eq!(
        (ports(&silent), silent.notes.len()),
        (vec!["80/tcp".to_owned()], 0),
        "nobody says it any more"
    );
    let other = after(&[tagged("2", "grpc"), tagged("4", "blue")], &mixed.settled);
    assert_eq!(ports(&other), ["80/grpc"], "nobody says it any more");
}

/// A word of one instance does not change what the others speak, and goes with that instance.
#[test]
fn one_instance_with_a_wrong_word_changes_no_protocol() {
    let after = |entries: &[Value], before: &Settled| made_of(entries, before, &Config::default());
    let silent = [tagged("1", "blue"), tagged("2", "blue"), tagged("3", "blue")];
    let wrong = [silent.as_slice(), &[tagged("4", "http")]].concat();
    let note = ["its instances say different protocols of port 80: http, none; tcp counts"];
    let settled = after(&silent, &Settled::default()).settled;
    for before in [&settled, &Settled::default()] {
        let mixed = after(&wrong, before);
        assert_eq!(
            (ports(&mixed), mixed.notes.as_slice()),
            (vec!["80/tcp".to_owned()], &note.map(str::to_owned)[..])
        );
    }
    let few = [tagged("1", "blue"), tagged("2", "http"), tagged("3", "http")];
    assert_eq!(ports(&after(&few, &settled)), ["80/tcp"], "one is still silent");
    let all = after(&few[1..], &settled);
    assert_eq!(ports(&all), ["80/http"], "all say it");
    let mixed = after(&few, &all.settled);
    assert_eq!((ports(&mixed), mixed.notes.len()), (vec!["80/http".to_owned()], 0), "it stays");
    assert_eq!(ports(&after(&few[..1], &mixed.settled)), ["80/tcp"], "nobody says it any more");
}

#[test]
fn what_only_describes_a_port_says_its_protocol_for_all_that_say_nothing() {
    let describes = entry("0", json!({ "Port": 0, "Tags": ["grpc"], "Meta": { "service_port": "80" } }));
    let all = [describes, tagged("1", "blue"), tagged("2", "blue")];
    let silent = made_of(&all[1..], &Settled::default(), &Config::default());
    let built = made_of(&all, &silent.settled, &Config::default());
    assert_eq!((ports(&built), built.notes.len()), (vec!["80/grpc".to_owned()], 0));
}

#[test]
fn a_resolution_stays_as_long_as_some_instance_is_of_that_kind() {
    let at = |id: &str, address: &str| entry(id, json!({ "Address": address }));
    let (ip, name) = (at("1", "10.0.0.1"), at("2", "db.example.com"));
    let after = |entries: &[Value], before: &Settled| made_of(entries, before, &Config::default());
    let addresses = |built: &Built| (built.service.resolution, built.service.endpoints.len());
    let by_ip = after(std::slice::from_ref(&ip), &Settled::default());
    let both = after(&[ip.clone(), name.clone()], &by_ip.settled);
    assert_eq!(addresses(&both), (Resolution::Endpoints, 1));
    assert!(both.left_out.as_ref().is_some_and(|why| why.contains("1 of its instances at DNS names")));
    let by_name = after(std::slice::from_ref(&name), &both.settled);
    assert_eq!(addresses(&by_name), (Resolution::Dns, 1), "no IP address is left");
    let both = after(&[ip.clone(), name], &by_name.settled);
    assert_eq!((addresses(&both), both.left_out), ((Resolution::Dns, 2), None));
    assert_eq!(addresses(&after(&[ip], &both.settled)), (Resolution::Endpoints, 1), "no name is left");
}

/// Three ports of one agent on one address: http, rpc and serf are no replicas of each other.
#[test]
fn the_agents_of_nomad_have_three_ports() {
    let of = |tag: &str, port: u16| {
        let id = format!("_nomad-server-abc-nomad-{tag}");
        entry(&id, json!({ "Port": port, "Tags": [tag], "Meta": { "external-source": "nomad" } }))
    };
    let all = [of("http", 4646), of("rpc", 4647), of("serf", 4648)];
    let built = made_of(&all, &Settled::default(), &Config::default());
    assert_eq!(ports(&built), ["4646?/http", "4647?/tcp", "4648?/tcp"]);
    let own = |one: &pilot_registry::Endpoint| {
        one.ports.iter().map(|(a, b)| (a.get(), b.get())).collect::<Vec<_>>()
    };
    let served: Vec<_> = built.service.endpoints.iter().map(own).collect();
    assert_eq!(served, [[(4646, 4646)], [(4647, 4647)], [(4648, 4648)]]);
    // What else runs on a machine twice is a replica, whatever its tags are.
    let replica = |id: &str, tag: &str, port: u16| entry(id, json!({ "Port": port, "Tags": [tag, "http"] }));
    let replicas = [replica("a", "rpc", 8081), replica("b", "serf", 8082)];
    let built = made_of(&replicas, &Settled::default(), &Config::default());
    assert_eq!(ports(&built), ["8081?/http"]);
}
