//! What is said of rules for connections.

use super::{assert_clean, assert_rejected, assert_warned, document, virtual_service};

#[test]
fn rules_for_connections_are_checked() {
    let to = "route: [{destination: {host: a}}]";
    for (rules, path, message) in [
        (format!("tls: [{{{to}}}]"), "spec.tls[0]", "match"),
        (format!("tls: [{{match: [], {to}}}]"), "spec.tls[0].match", "it is empty"),
        (format!("tls: [{{match: [{{}}], {to}}}]"), "spec.tls[0].match[0]", "sniHosts"),
        (
            format!("tls: [{{match: [{{sniHosts: [web.example.com]}}], {to}}}]"),
            "spec.tls[0].match[0].sniHosts[0]",
            "not within the hosts of the document, shop, *.shop.local",
        ),
        (
            format!("tls: [{{match: [{{sniHosts: [10.0.0.1]}}], {to}}}]"),
            "spec.tls[0].match[0].sniHosts[0]",
            "is an address",
        ),
        ("tls: [{match: [{sniHosts: [shop]}], route: []}]".to_owned(), "spec.tls[0].route", "it is empty"),
        (
            format!("tcp: [{{match: [{{destinationSubnets: [10.0.0.0/33]}}], {to}}}]"),
            "spec.tcp[0].match[0].destinationSubnets[0]",
            "no network",
        ),
        (
            format!("tcp: [{{match: [{{sourceSubnet: 10.0.0.0/8}}], {to}}}]"),
            "spec.tcp[0].match[0].sourceSubnet",
            "write sourceLabels",
        ),
        (format!("tcp: [{{name: a, {to}}}]"), "spec.tcp[0].name", "leave it out"),
        (
            "tcp: [{route: [{destination: {host: a}}, {destination: {host: b}}]}]".to_owned(),
            "spec.tcp[0].route",
            "the sum of their weights is 0",
        ),
    ] {
        let spec = format!("  hosts: [shop, \"*.shop.local\"]\n  {rules}\n");
        assert_rejected(&document("VirtualService", &spec), path, message);
    }
    let none = document("VirtualService", "  tcp: [{route: [{destination: {host: a}}]}]\n");
    assert_rejected(&none, "spec.tcp", "has rules for HTTP requests alone");
    let good = "tls: [{match: [{sniHosts: [shop, a.shop.local], port: 443, destinationSubnets: [10.0.0.1, 10.1.0.0/16]}], ";
    assert_clean(&document(
        "VirtualService",
        &format!("  hosts: [shop, \"*.shop.local\"]\n  {good}{to}}}]\n  tcp: [{{{to}}}]\n"),
    ));
    let twice = format!("  tcp: [{{{to}}}, {{match: [{{port: 80}}], {to}}}]\n");
    assert_warned(&virtual_service(&twice), "spec.tcp[1]", "it is never reached: tcp[0] takes all");
    let twice =
        format!("  tls: [{{match: [{{sniHosts: [shop]}}, {{sniHosts: [shop], port: 443}}], {to}}}]\n");
    assert_warned(
        &virtual_service(&twice),
        "spec.tls[0].match[1].sniHosts[0]",
        "spec.tls[0].match[0].sniHosts[0] takes all connections to shop",
    );
}
