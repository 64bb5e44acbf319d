//! What is said of documents that people write.

mod connections;
mod entries;

use super::{Document, Level, Spec, read};

/// Reads one document with that spec. The spec is indented by two blanks.
fn document(kind: &str, spec: &str) -> Document {
    let text =
        format!("apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: shop}}\nspec:\n{spec}");
    let mut documents = read(&text, "default");
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0)
}

fn virtual_service(spec: &str) -> Document {
    document("VirtualService", &format!("  hosts: [shop]\n{spec}"))
}

fn destination_rule(spec: &str) -> Document {
    document("DestinationRule", &format!("  host: shop\n{spec}"))
}

/// All that is said of a document, with the places below `spec`.
fn said(document: &Document) -> Vec<String> {
    document.findings.iter().map(|finding| format!("{}: {}", finding.path, finding.message)).collect()
}

/// The document is rejected, with that as the only thing that is wrong.
#[track_caller]
fn assert_rejected(document: &Document, path: &str, message: &str) {
    assert_eq!(document.spec, None);
    let errors = document.findings.iter().filter(|finding| finding.level == Level::Error);
    let errors: Vec<_> = errors.map(|finding| (finding.path.as_str(), finding.message.as_str())).collect();
    let is_it = matches!(errors.as_slice(), [(at, said)] if *at == path && said.contains(message));
    assert!(is_it, "expected {path}: {message}; found {errors:#?}");
}

/// The document counts, and that is said of it.
#[track_caller]
fn assert_warned(document: &Document, path: &str, message: &str) {
    assert!(document.spec.is_some(), "{:#?}", said(document));
    let is_it = |said: &super::Finding| said.path == path && said.message.contains(message);
    assert!(document.findings.iter().any(is_it), "expected {path}: {message}; found {:#?}", said(document));
}

#[track_caller]
fn assert_clean(document: &Document) {
    assert_eq!(said(document), Vec::<String>::new());
    assert!(document.spec.is_some());
}

#[test]
fn documents_of_a_text_are_read_one_by_one() {
    let text = "\
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: a, namespace: apps, creationTimestamp: 2024-01-01T00:00:00Z}
spec: {hosts: [a], http: [{directResponse: {status: 200}}]}
---
# nothing but a comment
---
kind: List
apiVersion: v1
items:
- apiVersion: networking.istio.io/v1beta1
  kind: DestinationRule
  metadata: {name: b}
  spec: {host: b}
- {\"apiVersion\": \"networking.istio.io/v1\", \"kind\": \"DestinationRule\", \"metadata\": {\"name\": \"c\"}, \"spec\": {\"host\": \"c\"}}
";
    let documents = read(text, "default");
    let names: Vec<_> = documents.iter().filter_map(|it| it.id.as_ref()).map(ToString::to_string).collect();
    assert_eq!(names, ["VirtualService/apps/a", "DestinationRule/default/b", "DestinationRule/default/c"]);
    documents.iter().for_each(assert_clean);
    assert_eq!(documents[0].created, "2024-01-01T00:00:00Z".parse().ok());
    assert_eq!(documents[1].at.line, 11);
}

#[test]
fn a_document_that_is_no_yaml_takes_no_other_one_with_it() {
    let good =
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: b}\nspec: {host: b}\n";
    let documents = read(&format!("{good}---\nkind: [\n---\n{good}"), "default");
    assert_eq!(documents.len(), 3);
    assert!(documents[0].spec.is_some() && documents[2].spec.is_some());
    assert_eq!(documents[1].id, None);
    assert_eq!(documents[1].findings[0].at.line, 6);
    assert_eq!(documents[2].at.line, 8);
}

#[test]
fn all_that_is_wrong_is_said_at_once_in_the_order_of_the_text() {
    let document = virtual_service(
        "  http:
  - timeout: 5
    rout:
    - destination: {host: shop}
    route:
    - destination: {host: shop, port: {number: 70000}}
      weight: -1
",
    );
    let places: Vec<_> =
        document.findings.iter().map(|it| (it.at.line, it.at.column, it.path.as_str())).collect();
    let expected = [
        (7, 14, "spec.http[0].timeout"),
        (8, 5, "spec.http[0].rout"),
        (11, 48, "spec.http[0].route[0].destination.port.number"),
        (12, 15, "spec.http[0].route[0].weight"),
    ];
    assert_eq!(places, expected);
}

#[test]
fn misspelt_and_misplaced_fields_are_rejected_with_the_right_one() {
    let route = "    route: [{destination: {host: shop}}]\n";
    for (spec, path, message) in [
        ("  - timeut: 5s\n", "spec.http[0].timeut", "did you mean timeout?"),
        (
            "  - match: [{prefix: /a}]\n",
            "spec.http[0].match[0].prefix",
            "it belongs into one of authority, method, scheme, uri",
        ),
        (
            "  - redirect: {authority: a, timeout: 5s}\n",
            "spec.http[0].redirect.timeout",
            "it belongs further out, into spec.http[0]",
        ),
        ("  - appendHeaders: {a: b}\n", "spec.http[0].appendHeaders", "write headers.request.add"),
        (
            "  - fault: {abort: {httpStatus: 500, percent: 5}}\n",
            "spec.http[0].fault.abort.percent",
            "write percentage",
        ),
        ("  - xyzzy: 1\n", "spec.http[0].xyzzy", "expected one of"),
    ] {
        let route = if spec.contains("redirect") { "" } else { route };
        assert_rejected(&virtual_service(&format!("  http:\n{spec}{route}")), path, message);
    }
}

#[test]
fn old_spellings_count_and_are_warned_of() {
    let document = virtual_service(
        "  http:
  - mirror: {host: other}
    mirror_percent: 10
    route: [{destination: {host: shop}}]
",
    );
    assert_warned(&document, "spec.http[0].mirror_percent", "it is written mirrorPercent");
    assert_warned(&document, "spec.http[0].mirror_percent", "mirrorPercentage.value");
    let Some(Spec::VirtualService(rule)) = document.spec else { panic!("rejected") };
    assert_eq!(rule.http[0].mirror_percent, Some(10));
    let twice =
        virtual_service("  http: [{direct_response: {status: 200}, directResponse: {status: 200}}]\n");
    assert_rejected(&twice, "spec.http[0].direct_response", "it is there twice");
}

#[test]
fn values_of_another_type_are_rejected_with_the_way_to_write_them() {
    for (spec, path, message) in [
        ("  http: {route: []}\n", "spec.http", "each item begins with \"- \""),
        ("  http: [[]]\n", "spec.http[0]", "expected a table, without \"- \""),
        ("  http: [{timeout: 5, route: [{destination: {host: shop}}]}]\n", "spec.http[0].timeout", "like 5s"),
        (
            "  http: [{route: [{destination: {host: 5}}]}]\n",
            "spec.http[0].route[0].destination.host",
            "in quotes",
        ),
        (
            "  http: [{route: [{destination: {host: shop}, weight: \"5\"}]}]\n",
            "spec.http[0].route[0].weight",
            "without quotes",
        ),
        (
            "  http: [{directResponse: {status: 200}, match: [{headers: {x: null}}]}]\n",
            "spec.http[0].match[0].headers.x",
            "null",
        ),
        (
            "  http: [{redirect: {authority: a, derivePort: from_request_port}}]\n",
            "spec.http[0].redirect.derivePort",
            "it is written FROM_REQUEST_PORT",
        ),
    ] {
        assert_rejected(&virtual_service(spec), path, message);
    }
}

#[test]
fn what_excludes_what_is_said() {
    for (rule, path, message) in [
        ("{}", "spec.http[0]", "it does nothing"),
        (
            "{route: [{destination: {host: a}}], redirect: {uri: /b}}",
            "spec.http[0]",
            "only one of route, redirect",
        ),
        ("{redirect: {}}", "spec.http[0].redirect", "it leads nowhere"),
        ("{redirect: {authority: a, redirectCode: 304}}", "spec.http[0].redirect.redirectCode", "301, 302"),
        (
            "{redirect: {prefixRewrite: /a}, match: [{uri: {exact: /b}}]}",
            "spec.http[0].redirect.prefixRewrite",
            "uri.prefix in each match",
        ),
        (
            "{rewrite: {uri: /a}, directResponse: {status: 200}}",
            "spec.http[0].rewrite",
            "excludes redirect and directResponse",
        ),
        (
            "{directResponse: {status: 200, body: {bytes: \"!\"}}}",
            "spec.http[0].directResponse.body.bytes",
            "no base64",
        ),
        (
            "{directResponse: {status: 200}, match: [{uri: {}}]}",
            "spec.http[0].match[0].uri",
            "expected exact, prefix or regex",
        ),
        (
            "{directResponse: {status: 200}, match: [{headers: {uri: {exact: /a}}}]}",
            "spec.http[0].match[0].headers.uri",
            "write uri beside headers",
        ),
        (
            "{route: [{destination: {host: a}}, {destination: {host: b}}]}",
            "spec.http[0].route",
            "the sum of their weights is 0",
        ),
        ("{route: [{destination: {host: \"*\"}}]}", "spec.http[0].route[0].destination.host", "no host"),
        (
            "{route: [{destination: {host: a}}], retries: {attempts: 0, retryOn: 5xx}}",
            "spec.http[0].retries.attempts",
            "switches retries off",
        ),
        (
            "{route: [{destination: {host: a}}], retries: {retryOn: gateway-erorr}}",
            "spec.http[0].retries.retryOn",
            "gateway-erorr",
        ),
        ("{route: [{destination: {host: a}}], fault: {}}", "spec.http[0].fault", "expected delay or abort"),
        (
            "{route: [{destination: {host: a}}], fault: {abort: {grpcStatus: \"14\", percentage: {value: 1}}}}",
            "spec.http[0].fault.abort.grpcStatus",
            "UNAVAILABLE",
        ),
        (
            "{route: [{destination: {host: a}}], corsPolicy: {maxAge: 1500ms}}",
            "spec.http[0].corsPolicy.maxAge",
            "whole seconds",
        ),
        (
            "{route: [{destination: {host: a}}], headers: {request: {set: {x: \"50%\"}}}}",
            "spec.http[0].headers.request.set.x",
            "write %%",
        ),
        (
            "{route: [{destination: {host: a}}], headers: {request: {remove: [host]}}}",
            "spec.http[0].headers.request.remove[0]",
            "cannot be taken away",
        ),
        (
            "{route: [{destination: {host: a}}], rewrite: {authority: b}, headers: {request: {set: {Host: c}}}}",
            "spec.http[0].rewrite.authority",
            "also set under headers",
        ),
    ] {
        assert_rejected(&virtual_service(&format!("  http: [{rule}]\n")), path, message);
    }
}

#[test]
fn what_an_envoy_refuses_of_paths_headers_and_rewrites_is_rejected() {
    let to = "route: [{destination: {host: a}}]";
    for (rule, path, message) in [
        ("redirect: {uri: \"/new\\n\"}".to_owned(), "redirect.uri", "control character"),
        (
            "match: [{uri: {prefix: /}}], redirect: {prefixRewrite: \"/a\\r\"}".to_owned(),
            "redirect.prefixRewrite",
            "control",
        ),
        ("redirect: {authority: \"a\\n\"}".to_owned(), "redirect.authority", "control"),
        (format!("{to}, rewrite: {{authority: \"a\\n\"}}"), "rewrite.authority", "control"),
        (format!("{to}, rewrite: {{uri: \"/a\\n\"}}"), "rewrite.uri", "control"),
        (format!("{to}, rewrite: {{uri: \"\"}}"), "rewrite.uri", "rewrites nothing"),
        (
            format!("{to}, rewrite: {{uriRegexRewrite: {{match: '(a)(b)', rewrite: '\\2\\3'}}}}"),
            "rewrite.uriRegexRewrite.rewrite",
            "expected \\0 to \\2",
        ),
        (
            format!("{to}, rewrite: {{uriRegexRewrite: {{match: '(a)', rewrite: '\\x'}}}}"),
            "rewrite.uriRegexRewrite.rewrite",
            "a backslash stands before",
        ),
        (
            format!("match: [{{queryParams: {{\"\": {{exact: a}}}}}}], {to}"),
            "match[0].queryParams",
            "no parameter",
        ),
        (format!("match: [{{uri: {{regex: '(?x)/a'}}}}], {to}"), "match[0].uri.regex", "no flag x"),
        (
            format!("{to}, headers: {{request: {{set: {{x-a: '%foo bar%'}}}}}}"),
            "headers.request.set.x-a",
            "no command",
        ),
        (
            format!("{to}, headers: {{response: {{add: {{x-a: {}}}}}}}", "a".repeat(16_385)),
            "headers.response.add.x-a",
            "at most 16384",
        ),
    ] {
        let document = virtual_service(&format!("  http: [{{{rule}}}]\n"));
        assert_rejected(&document, &format!("spec.http[0].{path}"), message);
    }
    let commands = "  http: [{route: [{destination: {host: a}}], headers: {request: {set: {x-a: '%START_TIME(%Y/%m)%%%', x-b: \
                    '%REQ(x-user):10% 5 %%'}}}}]\n";
    assert_clean(&virtual_service(commands));
    let quoted = "  http: [{match: [{uri: {regex: '/\\Qv1.0\\E/.*'}}], route: [{destination: {host: a}}]}]\n";
    assert_clean(&virtual_service(quoted));
}

#[test]
fn what_no_request_matches_is_warned_of() {
    let to = "route: [{destination: {host: a}}]";
    for (rule, path, message) in [
        (format!("match: [{{uri: {{prefix: api}}}}], {to}"), "match[0].uri.prefix", "never matches"),
        (format!("match: [{{uri: {{exact: \"\"}}}}], {to}"), "match[0].uri.exact", "never matches"),
        (format!("match: [{{uri: {{exact: nope}}}}], {to}"), "match[0].uri.exact", "never matches"),
        (format!("match: [{{uri: {{regex: 'api/.*'}}}}], {to}"), "match[0].uri.regex", "never matches"),
        (format!("{to}, rewrite: {{uri: v2}}"), "rewrite.uri", "does not begin with"),
        (
            format!("{to}, headers: {{request: {{set: {{x-a: '%FOO%'}}}}}}"),
            "headers.request.set.x-a",
            "%FOO% is no command",
        ),
    ] {
        let document = virtual_service(&format!("  http: [{{{rule}}}]\n"));
        assert_warned(&document, &format!("spec.http[0].{path}"), message);
    }
    for uri in ["{exact: '*'}", "{prefix: ''}", "{regex: '.*'}", "{regex: '(/a|/b).*'}"] {
        assert_clean(&virtual_service(&format!("  http: [{{match: [{{uri: {uri}}}], {to}}}]\n")));
    }
}

#[test]
fn hosts_and_where_they_count_are_checked() {
    let http = "  http: [{directResponse: {status: 200}}]\n";
    for (spec, path, message) in [
        ("  hosts: [\"*\"]\n", "spec.hosts[0]", "for gateways only"),
        ("  hosts: [a_b!]\n", "spec.hosts[0]", "no host"),
        ("  hosts: [\"*.shop\", web.shop]\n", "spec.hosts[1]", "hosts[0]"),
        ("  hosts: [shop, Shop]\n", "spec.hosts[1]", "there twice"),
        ("  gateways: [mesh]\n", "spec.gateways", "a document without hosts"),
        ("  hosts: [shop]\n  gateways: [a/b/c]\n", "spec.gateways[0]", "no gateway"),
        ("  hosts: [shop]\n  exportTo: [\"*\", apps]\n", "spec.exportTo", "stand alone"),
    ] {
        assert_rejected(&document("VirtualService", &format!("{spec}{http}")), path, message);
    }
    assert_rejected(&virtual_service(""), "spec", "it has no rules");
    let old = document("VirtualService", &format!("  hosts: [shop]\n  gateways: [edge.apps]\n{http}"));
    assert_warned(&old, "spec.gateways[0]", "write apps/edge");
}

#[test]
fn what_counts_otherwise_than_it_looks_is_warned_of() {
    for (rule, path, message) in [
        (
            "{route: [{destination: {host: a}}], fault: {abort: {httpStatus: 500}}}",
            "spec.http[0].fault.abort",
            "it never happens",
        ),
        (
            "{match: [{uri: {prefix: /app}}], rewrite: {uri: /}, route: [{destination: {host: a}}]}",
            "spec.http[0].rewrite.uri",
            "//x",
        ),
        (
            "{match: [{uri: {exact: \"/a?b=c\"}}], route: [{destination: {host: a}}]}",
            "spec.http[0].match[0].uri",
            "queryParams",
        ),
        ("{directResponse: {status: 200}, timeout: 5s}", "spec.http[0].timeout", "means nothing beside"),
        (
            "{route: [{destination: {host: a}}], mirrorPercentage: {value: 5}}",
            "spec.http[0].mirrorPercentage",
            "without mirror",
        ),
        (
            "{match: [{gateways: [mesh], sourceNamespace: a}], directResponse: {status: 200}}",
            "spec.http[0].match[0].sourceNamespace",
            "names gateways",
        ),
        (
            "{match: [{method: {exact: PUT}}], route: [{destination: {host: a}}], corsPolicy: {allowOrigins: [{exact: b}]}}",
            "spec.http[0].corsPolicy",
            "preflight",
        ),
        (
            "{route: [{destination: {host: a}, weight: 1}, {destination: {host: b}}]}",
            "spec.http[0].route[1]",
            "nothing is sent there",
        ),
    ] {
        assert_warned(&virtual_service(&format!("  http: [{rule}]\n")), path, message);
    }
    let hidden = "  http: [{match: [{uri: {prefix: /}}], directResponse: {status: 200}}, {directResponse: {status: 201}}]\n";
    assert_warned(&virtual_service(hidden), "spec.http[1]", "never reached: http[0]");
}

#[test]
fn policies_of_destinations_are_checked() {
    for (policy, path, message) in [
        ("{}", "", "it is empty"),
        ("{loadBalancer: {simple: PASSTHROUGH}}", ".loadBalancer.simple", "traffic capture"),
        ("{loadBalancer: {consistentHash: {}}}", ".loadBalancer.consistentHash", "it has no key"),
        (
            "{loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 100}}}}",
            ".loadBalancer.consistentHash.maglev.tableSize",
            "prime",
        ),
        (
            "{loadBalancer: {zoneAwareLbSetting: {enabled: true}}}",
            ".loadBalancer.zoneAwareLbSetting",
            "write localityLbSetting",
        ),
        ("{connectionPool: {}}", ".connectionPool", "expected tcp or http"),
        (
            "{connectionPool: {tcp: {connectTimeout: 0s}}}",
            ".connectionPool.tcp.connectTimeout",
            "at least 1ms",
        ),
        (
            "{outlierDetection: {consecutiveErrors: 5}}",
            ".outlierDetection.consecutiveErrors",
            "consecutive5xxErrors",
        ),
        (
            "{outlierDetection: {consecutiveLocalOriginFailures: 5}}",
            ".outlierDetection.consecutiveLocalOriginFailures",
            "splitExternalLocalOriginErrors",
        ),
        ("{tls: {mode: MUTUAL, clientCertificate: a}}", ".tls", "MUTUAL needs privateKey"),
        ("{tls: {caCertificates: a}}", ".tls", "there is no TLS with DISABLE"),
        ("{tls: {mode: SIMPLE, credentialName: a}}", ".tls.credentialName", "files on the proxy's machine"),
        ("{portLevelSettings: [{port: {number: 80}}]}", ".portLevelSettings[0]", "says nothing"),
    ] {
        let document = destination_rule(&format!("  trafficPolicy: {policy}\n"));
        assert_rejected(&document, &format!("spec.trafficPolicy{path}"), message);
    }
    for (setting, path, message) in [
        ("{distribute: [{from: a, to: {a: 0, b: 100}}]}", ".distribute[0].to.a", "expected 1 to 100"),
        ("{distribute: [{from: a/, to: {a: 100}}]}", ".distribute[0].from", "is no place"),
        ("{distribute: [{from: a, to: {'*/b': 100}}]}", ".distribute[0].to.*/b", "is no place"),
        (
            "{distribute: [{from: a, to: {a: 100}}, {from: 'a/*', to: {a: 100}}]}",
            ".distribute[1].from",
            "is there twice",
        ),
        (
            "{distribute: [{from: a, to: {a: 100}}, {from: a/b, to: {a: 100}}]}",
            ".distribute[1].from",
            "places in common",
        ),
        ("{distribute: [{from: a, to: {a: 50, a/b: 50}}]}", ".distribute[0].to.a/b", "places in common"),
        ("{distribute: [{from: a, to: {a: 100}}], failover: [{from: a, to: b}]}", "", "distribute"),
        ("{distribute: [{from: a, to: {a: 100}}], failoverPriority: [b]}", "", "distribute"),
        ("{failover: [{from: a, to: b}, {from: a, to: c}]}", ".failover[1].from", "there twice"),
        ("{failover: [{from: a, to: a}]}", ".failover[0]", "the same region"),
        ("{failoverPriority: [app, app=b]}", ".failoverPriority[1]", "there twice"),
        ("{failoverPriority: ['a b']}", ".failoverPriority[0].a b", "is no label"),
        (
            "{failover: [{from: a, to: b}], failoverPriority: [topology.kubernetes.io/region]}",
            ".failoverPriority[0]",
            "beside failover",
        ),
        ("{distribute: [{from: a, to: {a: 50, b: 40}}]}", ".distribute[0].to", "the sum is 90"),
        ("{failover: [{from: a/b, to: c}]}", ".failover[0].from", "expected a region"),
    ] {
        let policy = format!("  trafficPolicy: {{loadBalancer: {{localityLbSetting: {setting}}}}}\n");
        let document = destination_rule(&policy);
        assert_eq!(document.spec, None);
        let path = format!("spec.trafficPolicy.loadBalancer.localityLbSetting{path}");
        let is_it = |said: &super::Finding| said.path == path && said.message.contains(message);
        assert!(
            document.findings.iter().any(is_it),
            "expected {path}: {message}; found {:#?}",
            said(&document)
        );
    }
    let warned = |policy: &str, path: &str, message: &str| {
        let path = format!("spec.trafficPolicy.loadBalancer.localityLbSetting{path}");
        assert_warned(&destination_rule(&format!("  trafficPolicy: {policy}\n")), &path, message);
    };
    let failover = "loadBalancer: {localityLbSetting: {failover: [{from: a, to: b}]}}";
    warned(&format!("{{{failover}}}"), "", "without outlierDetection");
    let off = "{loadBalancer: {localityLbSetting: {enabled: false, failoverPriority: [a]}}}";
    warned(off, ".enabled", "nothing else here counts");
    let detected = format!("  trafficPolicy: {{{failover}, outlierDetection: {{}}}}\n");
    assert_clean(&destination_rule(&detected));
    let detected = format!(
        "  trafficPolicy: {{outlierDetection: {{}}}}\n  subsets: [{{name: v1, trafficPolicy: {{{failover}}}}}]\n"
    );
    assert_clean(&destination_rule(&detected));
    let twice = destination_rule("  subsets: [{name: v1}, {name: v1}]\n");
    assert_rejected(&twice, "spec.subsets[1].name", "there twice");
    let hidden = destination_rule(
        "  trafficPolicy: {tls: {mode: SIMPLE}, portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}}]}\n",
    );
    assert_warned(&hidden, "spec.trafficPolicy.portLevelSettings[0]", "tls of trafficPolicy does not count");
}

#[test]
fn envelopes_are_checked() {
    for (text, path, message) in [
        ("[1]", "", "expected apiVersion, kind, metadata and spec"),
        (
            "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {}}",
            "kind",
            "Service is no kind that is read: services come from registries",
        ),
        (
            "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: a}}",
            "kind",
            "write a Gateway of networking.istio.io/v1",
        ),
        (
            "{apiVersion: networking.istio.io/v1, kind: Virtualservice, metadata: {name: a}, spec: {}}",
            "kind",
            "is written VirtualService",
        ),
        (
            "{apiVersion: networking.istio.io/v2, kind: DestinationRule, metadata: {name: a}, spec: {host: a}}",
            "apiVersion",
            "v1beta1",
        ),
        (
            "{kind: DestinationRule, metadata: {name: a}, spec: {host: a}}",
            "apiVersion",
            "expected networking.istio.io/v1",
        ),
        (
            "{apiVersion: networking.istio.io/v1, kind: DestinationRule, spec: {host: a}}",
            "metadata",
            "missing",
        ),
        (
            "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {}, spec: {host: a}}",
            "metadata.name",
            "missing",
        ),
        (
            "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: A}, spec: {host: a}}",
            "metadata.name",
            "lower-case",
        ),
        (
            "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: a, nmae: b}, spec: {host: a}}",
            "metadata.nmae",
            "unknown field",
        ),
        (
            "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: a}, host: a, spec: {host: a}}",
            "host",
            "stands under spec",
        ),
        (
            "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: a}}",
            "spec",
            "missing",
        ),
    ] {
        let documents = read(text, "default");
        assert_eq!(documents.len(), 1);
        assert_rejected(&documents[0], path, message);
    }
    let printed = "{apiVersion: networking.istio.io/v1, kind: DestinationRule, spec: {host: a}, status: {x: 1}, metadata: \
                   {name: a, uid: b, resourceVersion: c, generation: 1, managedFields: [], labels: {}, annotations: {}, \
                   creationTimestamp: null}}";
    assert_clean(&read(printed, "default")[0]);
}

#[test]
fn a_document_has_at_most_so_many_matches_for_all_of_its_hosts() {
    let document = |hosts: usize, matches: usize| {
        let hosts: Vec<_> = (0..hosts).map(|i| format!("h{i}.example")).collect();
        let matches: Vec<_> = (0..matches).map(|i| format!("{{uri: {{exact: /{i}}}}}")).collect();
        let spec = format!(
            "{{hosts: [{}], http: [{{match: [{}], directResponse: {{status: 200}}}}]}}",
            hosts.join(", "),
            matches.join(", ")
        );
        let head = "apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a}";
        read(&format!("{{{head}, spec: {spec}}}"), "default").remove(0)
    };
    assert_clean(&document(100, 200));
    let wrong = document(100, 201);
    assert_rejected(
        &wrong,
        "spec.http",
        "201 matches, at each of 100 hosts: expected at most 20000 for all hosts together",
    );
}

#[test]
fn every_line_end_of_yaml_counts() {
    let text = ["a: 1", "---", "b: 1", "...", "", "c: 1", "c: 1"];
    let lines = |end: &str| -> Vec<usize> {
        let documents = read(&text.join(end), "default");
        documents.iter().flat_map(|document| &document.findings).map(|finding| finding.at.line).collect()
    };
    assert_eq!(lines("\n").last(), Some(&7), "the key that is there twice");
    assert_eq!(lines("\r\n"), lines("\n"));
    assert_eq!(lines("\r"), lines("\n"));
}

#[test]
fn a_final_dot_makes_no_other_host() {
    let text = "  hosts: [shop., \"*.wild.\"]\n  http:\n  - route: [{destination: {host: shop.}}]\n    mirror: {host: cart.}\n";
    let dotted = document("VirtualService", text);
    assert_clean(&dotted);
    let plain = document(
        "VirtualService",
        &text.replace(".\"", "\"").replace("shop.", "shop").replace("cart.", "cart"),
    );
    assert_eq!(dotted.spec, plain.spec);
    let twice =
        document("VirtualService", "  hosts: [shop, shop.]\n  http: [{directResponse: {status: 200}}]\n");
    assert_rejected(&twice, "spec.hosts[1]", "is there twice");
    let rule = document("DestinationRule", "  host: shop.\n");
    assert_eq!(rule.spec, destination_rule("").spec);
}

#[test]
fn what_does_nothing_beside_something_else_is_warned_of() {
    let rule =
        |rest: &str| document("VirtualService", &format!("  hosts: [shop]\n  http:\n  - {{{rest}}}\n"));
    let to_shop = "route: [{destination: {host: shop}}]";
    let warned = |rest: &str, path: &str, message: &str| {
        assert_warned(&rule(rest), &format!("spec.http[0].{path}"), message);
    };
    warned(
        "directResponse: {status: 200}, headers: {request: {set: {a: b}}}",
        "headers.request",
        "means nothing beside redirect or directResponse",
    );
    assert_clean(&rule("directResponse: {status: 200}, headers: {response: {set: {a: b}}}"));
    let slow = "fault: {delay: {fixedDelay: 5s, percentage: {value: 100}}}";
    warned(&format!("{to_shop}, timeout: 1s, {slow}"), "fault", "timeout does not cover its delay");
    let never = format!("{to_shop}, fault: {{abort: {{httpStatus: 500, percentage: {{}}}}}}");
    warned(&never, "fault.abort.percentage", "it never happens");
    let long = format!("{to_shop}, timeout: 1s, retries: {{attempts: 2, perTryTimeout: 2s}}");
    warned(&long, "retries.perTryTimeout", "longer than the rule's timeout");
    assert_clean(&rule(&format!("{to_shop}, timeout: 0s, retries: {{attempts: 2, perTryTimeout: 2s}}")));
    warned(
        &format!("match: [{{uri: {{regex: '/a\\?x=1'}}}}], {to_shop}"),
        "match[0].uri",
        "Write queryParams",
    );
}

#[test]
fn words_of_older_yaml_and_keys_that_are_none_are_told() {
    let yes = document(
        "VirtualService",
        "  hosts: [shop]\n  http:\n  - match: [{ignoreUriCase: yes, uri: {prefix: /}}]\n    directResponse: {status: 200}\n",
    );
    assert_rejected(&yes, "spec.http[0].match[0].ignoreUriCase", "in YAML 1.2 this is a text");
    for (key, why) in [("~", "a key that is empty"), ("[a]", "a key that is a list")] {
        let read = read(&format!("{key}: x\n"), "default");
        assert!(read[0].findings[0].message.contains(why), "{key}: {:?}", read[0].findings);
    }
}
