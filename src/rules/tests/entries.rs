//! What is said of ServiceEntries and WorkloadEntries.

use super::{assert_clean, assert_rejected, assert_warned, document};
use crate::rules::{Document, Spec, read};

/// A ServiceEntry for `api.example.com` with an HTTP port.
fn entry(spec: &str) -> Document {
    document(
        "ServiceEntry",
        &format!("  hosts: [api.example.com]\n  ports: [{{number: 80, name: http, protocol: HTTP}}]\n{spec}"),
    )
}

fn workload(spec: &str) -> Document {
    document("WorkloadEntry", spec)
}

#[test]
fn entries_that_are_served_are_accepted_without_a_word() {
    for spec in [
        "  resolution: STATIC\n  endpoints: [{address: 10.0.0.1, ports: {http: 8080}, locality: eu/a/1, weight: 3, labels: {version: v1}}]\n",
        "  resolution: STATIC\n  location: MESH_INTERNAL\n  workloadSelector: {labels: {app: api}}\n",
        "  resolution: STATIC\n  endpoints: [{address: unix:///run/app.sock}]\n",
        "  resolution: DNS\n",
        "  resolution: DNS\n  endpoints: [{address: eu.example.com}, {address: 10.0.0.1}]\n  exportTo: [., shop]\n",
        "  resolution: DNS_ROUND_ROBIN\n  subjectAltNames: [api.example.com]\n",
        "  resolution: DNS\n  addresses: [240.0.0.1, 240.0.0.2/32]\n",
    ] {
        assert_clean(&entry(spec));
    }
    assert_clean(&workload("  address: 10.0.0.1\n  ports: {http: 8080}\n  labels: {app: api}\n"));
}

#[test]
fn what_no_proxy_can_serve_is_rejected_with_what_to_write() {
    for (spec, path, why) in [
        (
            "  resolution: STATIC\n  endpoints: [{address: eu.example.com}]\n",
            "spec.endpoints[0].address",
            "resolution: DNS",
        ),
        (
            "  resolution: DNS\n  endpoints: [{address: unix:///run/app.sock}]\n",
            "spec.endpoints[0].address",
            "resolution: STATIC",
        ),
        (
            "  resolution: STATIC\n  endpoints: [{address: unix://@app}]\n",
            "spec.endpoints[0].address",
            "starts with '/'",
        ),
        (
            "  resolution: STATIC\n  endpoints: [{address: 10.0.0.1, ports: {htp: 8080}}]\n",
            "spec.endpoints[0].ports.htp",
            "expected one of http",
        ),
        (
            "  resolution: STATIC\n  endpoints: [{address: 10.0.0.1, ports: {http: 0}}]\n",
            "spec.endpoints[0].ports.http",
            "from 1 to 65535",
        ),
        (
            "  resolution: STATIC\n  endpoints: [{address: 10.0.0.1, locality: eu//1}]\n",
            "spec.endpoints[0].locality",
            "region/zone/subzone",
        ),
        (
            "  resolution: DNS_ROUND_ROBIN\n  endpoints: [{address: a.example.com}, {address: b.example.com}]\n",
            "spec.endpoints",
            "one endpoint, or DNS",
        ),
        (
            "  resolution: STATIC\n  endpoints: [{address: 10.0.0.1}]\n  workloadSelector: {labels: {a: b}}\n",
            "spec.workloadSelector",
            "the one or the other",
        ),
        ("  resolution: DYNAMIC_DNS\n", "spec.resolution", "not served yet"),
        ("  resolution: static\n", "spec.resolution", "it is written STATIC"),
        ("  resolution: DNS\n  addresses: [10.0.0.0/8]\n", "spec.addresses[0]", "range of addresses"),
        ("  resolution: DNS\n  addresses: [shop]\n", "spec.addresses[0]", "is no address"),
        ("  resolution: DNS\n  exportTo: [\"~\", shop]\n", "spec.exportTo", "stand alone"),
        ("  resolution: DNS\n  endpoint: []\n", "spec.endpoint", "did you mean endpoints?"),
    ] {
        assert_rejected(&entry(spec), path, why);
    }
    let of = |hosts: &str, port: &str| {
        document("ServiceEntry", &format!("  hosts: {hosts}\n  ports: [{port}]\n  resolution: DNS\n"))
    };
    let http = "{number: 80, name: http, protocol: HTTP}";
    assert_rejected(&of("[\"*\"]", http), "spec.hosts[0]", "is no host");
    assert_rejected(&of("[\"*.example.com\"]", http), "spec.hosts[0]", "write endpoints");
    assert_rejected(&of("[a.example.com, A.example.com]", http), "spec.hosts[1]", "twice");
    let tcp = "{number: 5432, name: db, protocol: TCP}";
    assert_rejected(&of("[a.example.com, b.example.com]", tcp), "spec.hosts", "a document for each host");
    assert_clean(&of("[a.example.com, b.example.com]", "{number: 443, name: tls, protocol: https}"));
    assert_rejected(
        &of("[a]", "{number: 80, name: http, protocol: HTTP_PROXY}"),
        "spec.ports[0].protocol",
        "http_listen",
    );
    assert_rejected(
        &of("[a]", "{number: 80, name: http, protocol: FTP}"),
        "spec.ports[0].protocol",
        "expected one of HTTP",
    );
    assert_rejected(&of("[a]", "{number: 80, name: http}"), "spec.ports[0]", "\"protocol\" is missing");
    assert_rejected(
        &of("[a]", &format!("{http}, {{number: 80, name: other, protocol: HTTP}}")),
        "spec.ports[1].number",
        "twice",
    );
    assert_rejected(&workload("  address: \"\"\n"), "spec.address", "it is empty");
    assert_rejected(&workload("  ports: {http: 80}\n"), "spec", "\"address\" is missing");
    assert_rejected(&workload("  address: 10.0.0.1:80\n"), "spec.address", "it has a port");
}

#[test]
fn what_does_not_count_is_told() {
    assert_warned(&entry(""), "spec.resolution", "no proxy serves this service");
    assert_warned(&entry("  resolution: STATIC\n"), "spec", "it has no endpoints");
    let selector = "  resolution: STATIC\n  workloadSelector: {labels: {}}\n";
    assert_warned(&entry(selector), "spec.workloadSelector", "all workloads of the namespace");
    for field in ["network: east", "serviceAccount: api"] {
        let path = format!("spec.{}", field.split(':').next().unwrap());
        assert_warned(&workload(&format!("  address: 10.0.0.1\n  {field}\n")), &path, "");
    }
    let place = workload("  address: 10.0.0.1\n  locality: eu/a/1/more\n");
    assert_warned(&place, "spec.locality", "only region, zone and subzone");
}

#[test]
fn labels_of_the_document_are_those_of_what_it_says_and_win() {
    let text = "{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: vm, labels: {app: api, v: '2'}}, \
                spec: {address: 10.0.0.1, labels: {v: '1', a: b}}}";
    let Some(Spec::WorkloadEntry(entry)) = read(text, "default").remove(0).spec else { panic!("it is one") };
    let labels: Vec<_> = entry.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(labels, ["a=b", "app=api", "v=2"]);
    let wrong = text.replace("'2'", "2");
    assert_rejected(&read(&wrong, "default").remove(0), "metadata.labels.v", "in quotes");
}

#[test]
fn a_workload_group_is_no_kind_that_is_read_and_the_way_to_register_is_told() {
    assert_rejected(&document("WorkloadGroup", "  template: {}\n"), "kind", "`pilot register`");
}
