use pilot_registry::{Memory, Resolution};
use serde_json::{Value, json};

use super::*;

/// Web of a datacenter.
fn key(datacenter: usize) -> Key {
    Key { datacenter, name: "web".into() }
}

/// So many instances there, at that port.
fn content(address: &str, many: usize, port: u16) -> Content {
    let entry = |n: usize| {
        json!({
            "Node": { "Node": format!("{address}-{n}"), "Address": address, "Datacenter": "dc1" },
            "Service": { "ID": n.to_string(), "Service": "web", "Port": usize::from(port) },
            "Checks": [],
        })
    };
    let body: Value = (0..many).map(entry).collect();
    convert::content("web", body.to_string().as_bytes(), &Config::default()).unwrap()
}

/// An attempt that has read these, in that order, and all lists.
fn attempt(memory: &Memory<Remembered>, read: &[(usize, &Content)]) -> Services {
    let mut services = Services::new(&Config::default(), memory.lend());
    (0..read.len()).for_each(|datacenter| services.add(key(datacenter)));
    services.all_listed();
    for (datacenter, content) in read {
        services.set(&key(*datacenter), 0, Content::clone(content));
        services.begin();
    }
    services
}

fn called(services: &Services) -> (u16, Resolution, usize) {
    let host: Hostname = "web.service.consul".parse().unwrap();
    let service = &services.built[&host].as_ref().unwrap().service;
    (service.ports[0].number.get(), service.resolution, service.endpoints.len())
}

#[test]
fn the_order_of_first_answers_does_not_matter() {
    let (one, five) = (content("10.0.0.1", 1, 8080), content("10.0.0.2", 5, 9090));
    let name = content("db.example.com", 1, 9090);
    for (first, second) in [((0, &one), (1, &five)), ((1, &five), (0, &one))] {
        let services = attempt(&Memory::<Remembered>::default(), &[first, second]);
        assert_eq!(called(&services).0, 9090);
    }
    let both = [[(0, &one), (1, &name)], [(1, &name), (0, &one)]];
    for read in &both {
        assert_eq!(called(&attempt(&Memory::<Remembered>::default(), read)).1, Resolution::Dns);
    }
    // By IP address it was at first, so the name stays left out in each attempt that follows.
    for read in &both {
        let memory = Memory::<Remembered>::default();
        drop(attempt(&memory, &[(0, &one)]));
        assert_eq!(called(&attempt(&memory, read)), (8080, Resolution::Endpoints, 1));
    }
}

#[test]
fn what_is_remembered_outlives_attempts_that_read_nothing_or_not_all() {
    let memory = Memory::<Remembered>::default();
    drop(attempt(&memory, &[(0, &content("10.0.0.1", 1, 8080))]));
    drop(Services::new(&Config::default(), memory.lend()));
    let mut part = Services::new(&Config::default(), memory.lend());
    part.add(key(1));
    part.set(&key(1), 0, content("10.0.0.2", 5, 9090));
    assert!(!part.complete(), "there is another list");
    drop(part);
    let services = Services::new(&Config::default(), memory.lend());
    assert_eq!(services.known(&key(0)).map(|content| content.instances.len()), Some(1));
    assert_eq!(services.remembered.settled.len(), 1);
    drop(services);
    // One that has read all, and knows of no such service any more.
    drop(attempt(&memory, &[]));
    let mut none = Services::new(&Config::default(), memory.lend());
    none.all_listed();
    none.begin();
    drop(none);
    assert!(Services::new(&Config::default(), memory.lend()).known(&key(0)).is_none());
}

#[test]
fn a_guess_stays_for_a_host_that_vanishes_and_comes_back() {
    let memory = Memory::<Remembered>::default();
    let mut services = attempt(&memory, &[(0, &content("10.0.0.1", 1, 26_201))]);
    services.set(&key(0), 1, Content::default());
    assert!(services.built.is_empty());
    services.set(&key(0), 2, content("10.0.0.1", 1, 26_202));
    assert_eq!(called(&services).0, 26_201);
    services.remove(&key(0));
    drop(services);
    let mut none = Services::new(&Config::default(), memory.lend());
    none.all_listed();
    none.begin();
    drop(none);
    assert_eq!(called(&attempt(&memory, &[(0, &content("10.0.0.1", 1, 26_203))])).0, 26_201);
}
