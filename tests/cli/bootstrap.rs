//! `pilot bootstrap`: what it warns of, and several replicas.

use serde_json::{Value, json};

use super::{CONFIG, SERVICES, folder, pilot, stderr, stdout};

#[test]
fn a_bootstrap_says_what_is_not_right_everywhere() {
    let folder = folder(CONFIG, SERVICES);
    let listen = [("PILOT_XDS_LISTEN", "0.0.0.0:18000")];
    let output = pilot(folder.path(), &listen, &["bootstrap"]);
    assert!(
        stdout(&output).contains("address: 127.0.0.1") || stdout(&output).contains("address: \"127.0.0.1\"")
    );
    assert!(stderr(&output).starts_with("warning: pilot listens on all addresses"), "{output:?}");
    assert!(stderr(&output).contains("--xds-address"), "{output:?}");
    let output = pilot(folder.path(), &listen, &["bootstrap", "--xds-address", "10.0.0.9:18000"]);
    assert_eq!(stderr(&output), "");
    let id = ["bootstrap", "--node-id", "ingress~10.0.0.9~edge~mesh"];
    let output = pilot(folder.path(), &[], &id);
    assert_eq!(stderr(&output), "");
    assert!(output.status.success() && !stdout(&output).is_empty());
}

#[test]
fn a_bootstrap_names_all_replicas() {
    let folder = folder(CONFIG, SERVICES);
    for flags in
        [vec!["--xds-address", "a:1,[::1]:2"], vec!["--xds-address", "a:1", "--xds-address", "[::1]:2"]]
    {
        let output = pilot(folder.path(), &[], &[&["bootstrap", "-o", "json"][..], &flags].concat());
        let bootstrap: Value = serde_json::from_str(stdout(&output)).unwrap();
        let cluster = &bootstrap["static_resources"]["clusters"][0];
        let endpoints = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"].as_array().unwrap();
        let address = |at: usize| &endpoints[at]["endpoint"]["address"]["socket_address"];
        assert_eq!(address(0), &json!({ "address": "a", "port_value": 1 }));
        assert_eq!(address(1), &json!({ "address": "::1", "port_value": 2 }));
        assert_eq!(endpoints.len(), 2);
    }
    let output = pilot(folder.path(), &[], &["bootstrap", "--xds-address", "a:1,::1:2"]);
    assert!(stderr(&output).contains("\"::1:2\"") && stderr(&output).contains("in brackets"), "{output:?}");
    let output = pilot(folder.path(), &[], &["bootstrap", "--xds-address", "http://a:1"]);
    assert!(stderr(&output).contains("it has a scheme: leave out http://"), "{output:?}");
}
