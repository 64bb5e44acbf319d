//! What Envoy is told of the rules that people write.

use std::borrow::Cow;
use std::collections::BTreeMap;

use pilot_envoy_api::envoy::config::route::v3 as route;
use route::route::Action;
use route::route_action::ClusterSpecifier;
use route::route_match::PathSpecifier;

use super::{Asker, Destinations, Misfit, expanded, misfits, routes};
use crate::rules::kinds::{Delegate, Destination, VirtualService};
use crate::rules::{Spec, read};

/// Names clusters by host, subset and port.
struct Plain;

impl Destinations for Plain {
    fn cluster(&self, destination: &Destination, port: u16) -> String {
        let port = destination.port.map_or(port, |port| port.number);
        format!("{}/{}/{port}", destination.host, destination.subset.as_deref().unwrap_or_default())
    }

    fn hash_policies(&self, _: &str) -> Vec<route::route_action::HashPolicy> {
        Vec::new()
    }

    fn rewrites_host(&self, cluster: &str) -> bool {
        cluster.starts_with("far/")
    }
}

fn rule(http: &str) -> VirtualService {
    let text = format!(
        "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: a}}, spec: {{hosts: [shop], http: \
         [{http}]}}}}"
    );
    let document = read(&text, "default").remove(0);
    match document.spec {
        Some(Spec::VirtualService(rule)) => *rule,
        _ => panic!("{:#?}", document.findings),
    }
}

fn asked(http: &str, namespace: &str, labels: &[(&str, &str)], port: u16) -> Option<Vec<route::Route>> {
    let labels: BTreeMap<_, _> = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let asker = Asker { namespace, labels: &labels, gateway: "mesh", port, at: port };
    routes(&rule(http).http, asker, &Plain)
}

fn made(http: &str) -> Vec<route::Route> {
    asked(http, "default", &[], 80).expect("a rule for all proxies")
}

fn action(route: &route::Route) -> &route::RouteAction {
    match &route.action {
        Some(Action::Route(action)) => action,
        other => panic!("{other:?}"),
    }
}

/// The clusters to which routes lead, one after the other.
fn clusters(routes: &[route::Route]) -> Vec<String> {
    let cluster = |route: &route::Route| match action(route).cluster_specifier.as_ref() {
        Some(ClusterSpecifier::Cluster(cluster)) => cluster.clone(),
        Some(ClusterSpecifier::WeightedClusters(several)) => {
            let weight = |it: &route::weighted_cluster::ClusterWeight| {
                format!("{}*{}", it.name, it.weight.as_ref().map_or(0, |weight| weight.value))
            };
            several.clusters.iter().map(weight).collect::<Vec<_>>().join("+")
        }
        other => panic!("{other:?}"),
    };
    routes.iter().map(cluster).collect()
}

#[test]
fn what_is_for_other_proxies_is_left_out() {
    let http = "{match: [{sourceLabels: {app: web}}], route: [{destination: {host: labelled}}]}, \
                {match: [{sourceNamespace: apps}], route: [{destination: {host: spaced}}]}, \
                {match: [{port: 81}], route: [{destination: {host: ported}}]}, \
                {match: [{gateways: [edge]}], route: [{destination: {host: gated}}]}";
    assert_eq!(asked(http, "default", &[], 80), None, "nothing is left: the document is not there");
    let found = |namespace, labels, port| clusters(&asked(http, namespace, labels, port).expect("some"));
    assert_eq!(found("default", &[("app", "web"), ("tier", "x")], 80), ["labelled//80"]);
    assert_eq!(found("apps", &[("app", "other")], 80), ["spaced//80"]);
    assert_eq!(found("apps", &[], 81), ["spaced//81"], "all others are never reached");
}

#[test]
fn conditions_are_matched_as_they_are_written() {
    let route = &made(
        "{match: [{uri: {prefix: /a}, ignoreUriCase: true, method: {exact: GET}, headers: {X-A: {}, x-b: {regex: a.*}}, \
         withoutHeaders: {x-c: {exact: d}}, queryParams: {q: {exact: \"\"}}}], route: [{destination: {host: a}}]}",
    )[0];
    let condition = route.r#match.as_ref().unwrap();
    assert_eq!(condition.path_specifier, Some(PathSpecifier::Prefix("/a".into())));
    assert_eq!(condition.case_sensitive.as_ref().map(|it| it.value), Some(false));
    let headers: Vec<_> = condition.headers.iter().map(|it| (it.name.as_str(), it.invert_match)).collect();
    assert_eq!(headers, [(":method", false), ("x-a", false), ("x-b", false), ("x-c", true)]);
    assert!(condition.headers[3].treat_missing_header_as_empty);
    assert_eq!(condition.query_parameters.len(), 1);
}

#[test]
fn several_matches_are_routes_and_nothing_follows_what_takes_all() {
    let http = "{name: a, match: [{name: x, uri: {exact: /x}}, {uri: {prefix: /}}, {uri: {exact: /y}}], route: \
                [{destination: {host: a}}]}, {route: [{destination: {host: b}}]}";
    let routes = made(http);
    assert_eq!(clusters(&routes), ["a//80", "a//80"]);
    let names: Vec<_> = routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["a.x", "a"]);
}

#[test]
fn requests_are_divided_by_weight() {
    let http = "{route: [{destination: {host: a, subset: v1}, weight: 9}, {destination: {host: a, subset: v2, port: \
                {number: 8080}}, weight: 1}, {destination: {host: b}}]}";
    assert_eq!(clusters(&made(http)), ["a/v1/80*9+a/v2/8080*1"]);
    assert_eq!(clusters(&made("{route: [{destination: {host: a}, weight: 7}]}")), ["a//80"]);
}

#[test]
fn a_rule_keeps_what_counts_without_rules() {
    let plain = action(&made("{route: [{destination: {host: a}}]}")[0]).clone();
    let retries = plain.retry_policy.clone().expect("the usual ones");
    assert!(retries.retry_on.contains("reset-before-request") && retries.retry_priority.is_some());
    assert_eq!(plain.timeout.map(|it| it.seconds), Some(0), "no limit");
    let only =
        action(&made("{timeout: 5s, retries: {attempts: 4}, route: [{destination: {host: a}}]}")[0]).clone();
    let found = only.retry_policy.expect("retries");
    assert_eq!((found.retry_on, found.num_retries.map(|it| it.value)), (retries.retry_on, Some(4)));
    assert_eq!(only.timeout.map(|it| it.seconds), Some(5));
    assert_eq!(only.max_stream_duration, None, "it would count instead of the timeout");
    let none = action(&made("{retries: {attempts: 0}, route: [{destination: {host: a}}]}")[0]).clone();
    assert_eq!(none.retry_policy, None);
}

#[test]
fn statuses_among_what_is_retried_are_told_apart() {
    let http = "{retries: {attempts: 1, retryOn: \"gateway-error, 409\"}, route: [{destination: {host: a}}]}";
    let policy = action(&made(http)[0]).retry_policy.clone().unwrap();
    assert_eq!(policy.retry_on, "gateway-error,retriable-status-codes");
    assert_eq!(policy.retriable_status_codes, [409]);
}

#[test]
fn redirects_and_answers_are_made_by_the_proxy() {
    let redirect = |http: &str| match &made(http)[0].action {
        Some(Action::Redirect(redirect)) => redirect.clone(),
        other => panic!("{other:?}"),
    };
    let found = redirect("{redirect: {uri: /b, authority: c, scheme: https, port: 443, redirectCode: 308}}");
    assert_eq!((found.host_redirect.as_str(), found.port_redirect), ("c", 0));
    assert_eq!(found.response_code, route::redirect_action::RedirectResponseCode::PermanentRedirect as i32);
    // A port that the scheme means is only said where the client's would stay.
    let port = |rest: &str, at| match &asked(&format!("{{redirect: {{{rest}}}}}"), "default", &[], at)
        .unwrap()[0]
        .action
    {
        Some(Action::Redirect(redirect)) => redirect.port_redirect,
        other => panic!("{other:?}"),
    };
    let cases = [
        ("authority: c, derivePort: FROM_REQUEST_PORT", 80, 0),
        ("authority: c, derivePort: FROM_REQUEST_PORT", 15080, 15080),
        ("authority: c, port: 80", 15080, 0),
        ("authority: c, scheme: https, port: 80", 15080, 80),
        ("uri: /b, scheme: http, port: 80", 15080, 80),
        ("uri: /b, scheme: https, derivePort: FROM_PROTOCOL_DEFAULT", 80, 0),
        ("uri: /b, scheme: https, derivePort: FROM_PROTOCOL_DEFAULT", 15080, 443),
        ("uri: /b, derivePort: FROM_PROTOCOL_DEFAULT", 15080, 80),
    ];
    for (rest, at, expected) in cases {
        assert_eq!(port(rest, at), expected, "{rest} at {at}");
    }
    let routes =
        made("{directResponse: {status: 418, body: {string: tea}}, headers: {response: {set: {x-a: b}}}}");
    let Some(Action::DirectResponse(answer)) = &routes[0].action else { panic!("{routes:?}") };
    assert_eq!(answer.status, 418);
    assert_eq!(routes[0].response_headers_to_add.len(), 1);
}

#[test]
fn the_host_is_rewritten_and_is_no_header() {
    use route::route_action::HostRewriteSpecifier::HostRewriteLiteral;
    let http = "{headers: {request: {set: {Host: new, x-a: b}}}, route: [{destination: {host: a}}]}";
    let routes = made(http);
    assert_eq!(action(&routes[0]).host_rewrite_specifier, Some(HostRewriteLiteral("new".into())));
    assert_eq!(routes[0].request_headers_to_add.len(), 1);
    let http =
        "{match: [{uri: {prefix: /a}}], rewrite: {uri: /, authority: b}, route: [{destination: {host: a}}]}";
    let routes = made(http);
    assert_eq!(action(&routes[0]).prefix_rewrite, "/");
    assert_eq!(action(&routes[0]).host_rewrite_specifier, Some(HostRewriteLiteral("b".into())));
}

#[test]
fn faults_mirrors_and_cors_are_for_their_share() {
    let http = "{fault: {abort: {grpcStatus: UNAVAILABLE, percentage: {value: 12.5}}}, mirror: {host: m}, \
                mirrorPercentage: {value: 0}, corsPolicy: {allowOrigins: [{exact: b}], maxAge: 1m}, route: [{destination: \
                {host: a}}]}";
    let route = &made(http)[0];
    let filters: Vec<_> = route.typed_per_filter_config.keys().map(String::as_str).collect();
    assert_eq!(filters, [super::extras::CORS_FILTER, super::extras::FAULT_FILTER]);
    assert!(action(route).request_mirror_policies.is_empty(), "0 % is no mirror");
    let all = &made("{mirror: {host: m}, route: [{destination: {host: a}}]}")[0];
    assert_eq!(action(all).request_mirror_policies[0].cluster, "m//80");
    assert_eq!(action(all).request_mirror_policies[0].runtime_fraction, None, "all of them");
}

#[test]
fn delegates_take_the_place_of_rules() {
    let root = rule(
        "{match: [{uri: {prefix: /a}, headers: {x: {exact: y}}}], timeout: 5s, delegate: {name: leaf}}, \
         {match: [{uri: {prefix: /gone}}], delegate: {name: missing}}, {directResponse: {status: 404}}",
    );
    let leaf = rule(
        "{match: [{uri: {prefix: /a/b}}, {uri: {exact: /c}}], route: [{destination: {host: one}}]}, \
         {match: [{uri: {exact: /z}}], route: [{destination: {host: never}}]}, \
         {timeout: 1s, route: [{destination: {host: two}}]}",
    );
    let find = |delegate: &Delegate| (delegate.name == "leaf").then_some(("default", &leaf));
    let rules = expanded(&root, find, |_, rule| Cow::Borrowed(rule));
    let expected = [Misfit::Missing { rule: 1 }, Misfit::Contradicts { rule: 0, delegated: 1 }];
    assert_eq!(misfits(&root, find), expected);
    let found: Vec<_> = rules
        .iter()
        .map(|(_, rule)| {
            let prefixes = rule.matches.iter().filter_map(|it| it.uri.as_ref()?.prefix.clone());
            (prefixes.collect::<Vec<_>>(), rule.timeout.map(|it| it.0.as_secs()))
        })
        .collect();
    let expected = [(vec!["/a/b".to_owned()], Some(5)), (vec!["/a".to_owned()], Some(1)), (Vec::new(), None)];
    assert_eq!(found, expected);
    assert_eq!(rules[0].1.matches[0].headers.len(), 1, "the root's conditions count, too");
}

#[test]
fn grpc_clients_get_what_they_know_of_a_route() {
    let http = "{match: [{uri: {prefix: /a}}], directResponse: {status: 200}}, \
                {timeout: 2s, retries: {attempts: 4, retryOn: \"5xx,unavailable,503\"}, mirror: {host: m}, rewrite: {uri: \
                /b}, corsPolicy: {allowOrigins: [{exact: b}]}, headers: {request: {set: {x: y}}}, fault: {delay: \
                {fixedDelay: 1s, percentage: {value: 1}}}, route: [{destination: {host: a}, weight: 1, headers: \
                {request: {set: {x: y}}}}, {destination: {host: b}, weight: 2}]}";
    let routes = super::for_grpc(made(http));
    assert!(super::has_faults(&routes));
    assert_eq!(clusters(&routes[..1]), ["nowhere"]);
    let route = &routes[1];
    assert_eq!(clusters(std::slice::from_ref(route)), ["a//80*1+b//80*2"]);
    let filters: Vec<_> = route.typed_per_filter_config.keys().map(String::as_str).collect();
    assert_eq!(filters, [super::FAULT_FILTER]);
    assert!(route.request_headers_to_add.is_empty());
    let action = action(route);
    assert_eq!((action.timeout, action.prefix_rewrite.as_str()), (None, ""));
    assert!(action.request_mirror_policies.is_empty());
    let limit = action.max_stream_duration.as_ref().and_then(|it| it.max_stream_duration);
    assert_eq!(limit.map(|limit| limit.seconds), Some(2));
    let retries = action.retry_policy.as_ref().unwrap();
    assert_eq!((retries.retry_on.as_str(), retries.num_retries.unwrap().value), ("unavailable", 4));
    assert!(retries.retry_host_predicate.is_empty() && retries.retry_priority.is_none());
    let none =
        super::for_grpc(made("{retries: {retryOn: connect-failure}, route: [{destination: {host: a}}]}"));
    assert_eq!(self::action(&none[0]).retry_policy, None, "nothing that gRPC can see");
    assert_eq!(self::action(&none[0]).max_stream_duration, None, "no limit");
    let last = made(
        "{match: [{uri: {prefix: /a}}], route: [{destination: {host: a}}]}, {directResponse: {status: 200}}",
    );
    assert_eq!(super::for_grpc(last).len(), 1, "what nothing fits fails");
}
