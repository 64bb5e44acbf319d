//! Documents that use every field that pilot serves, drawn at random. Each is valid.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Hosts of services that are there.
pub(crate) const HOSTS: [&str; 4] = ["a.example", "b.example", "c.example", "d.example"];

/// One of these.
fn one(values: Value) -> BoxedStrategy<Value> {
    let Value::Array(values) = values else { unreachable!("a list") };
    prop::sample::select(values).boxed()
}

/// An object with some of these fields.
fn some<const N: usize>(fields: [(&'static str, BoxedStrategy<Value>); N]) -> BoxedStrategy<Value> {
    with(json!({}), fields)
}

/// The same, beside what is always there.
fn with<const N: usize>(
    always: Value,
    fields: [(&'static str, BoxedStrategy<Value>); N],
) -> BoxedStrategy<Value> {
    fields.into_iter().fold(Just(always).boxed(), |object, (key, value)| {
        let both = (object, prop::option::weighted(0.35, value));
        let put = move |(mut object, value): (Value, Option<Value>)| {
            if let Some(value) = value {
                object[key] = value;
            }
            object
        };
        both.prop_map(put).boxed()
    })
}

/// A list of some of these.
fn list(item: BoxedStrategy<Value>, count: std::ops::Range<usize>) -> BoxedStrategy<Value> {
    vec(item, count).prop_map(Value::from).boxed()
}

fn text() -> BoxedStrategy<Value> {
    one(json!([{ "exact": "x" }, { "prefix": "x" }, { "regex": "x[0-9]+|y" }]))
}

fn duration() -> BoxedStrategy<Value> {
    one(json!(["1s", "250ms", "1m30s", "2h", "1.5s"]))
}

fn percentage() -> BoxedStrategy<Value> {
    one(json!([{ "value": 0 }, { "value": 12.5 }, { "value": 0.0001 }, { "value": 100 }]))
}

fn condition() -> BoxedStrategy<Value> {
    let by_name = || {
        one(
            json!([{ "x-a": { "exact": "1" }, "x-b": {} }, { "x-c": { "regex": "*" } }, { "x-d": { "prefix": "p" } }]),
        )
    };
    let uri =
        one(json!([{ "exact": "/x" }, { "prefix": "/x/" }, { "prefix": "/" }, { "regex": "/x/[^/]+" }]));
    some([
        ("name", one(json!(["first", "second"]))),
        ("uri", uri),
        ("scheme", one(json!([{ "exact": "http" }, { "prefix": "http" }]))),
        ("method", one(json!([{ "exact": "GET" }, { "regex": "GET|POST" }, { "prefix": "P" }]))),
        ("authority", text()),
        ("headers", by_name()),
        ("withoutHeaders", by_name()),
        ("queryParams", by_name()),
        ("port", one(json!([80, 81]))),
        ("sourceLabels", one(json!([{ "app": "web" }]))),
        ("sourceNamespace", one(json!(["shop"]))),
        ("statPrefix", one(json!(["counted"]))),
    ])
}

fn headers() -> BoxedStrategy<Value> {
    let operations = || {
        some([
            ("set", one(json!([{ "x-set": "%REQ(:path)% 100%%" }, { "x-set": "plain", "x-too": "é" }]))),
            ("add", one(json!([{ "x-add": "it is \"so\"" }]))),
            ("remove", one(json!([["x-gone", "x-too"]]))),
        ])
    };
    some([("request", operations()), ("response", operations())])
}

fn destination() -> BoxedStrategy<Value> {
    let host = prop::sample::select(HOSTS.to_vec()).prop_map(|host| json!({ "host": host }));
    let subset = one(json!([null, "v1", "v2", "gone"]));
    let port = one(json!([null, 80, 81]));
    (host, subset, port)
        .prop_map(|(mut destination, subset, port)| {
            if !subset.is_null() {
                destination["subset"] = subset;
            }
            if !port.is_null() {
                destination["port"] = json!({ "number": port });
            }
            destination
        })
        .boxed()
}

fn route() -> BoxedStrategy<Value> {
    let weighted =
        (destination(), 1..100u32, prop::option::of(headers())).prop_map(|(destination, weight, headers)| {
            let mut route = json!({ "destination": destination, "weight": weight });
            if let Some(headers) = headers {
                route["headers"] = headers;
            }
            route
        });
    list(weighted.boxed(), 1..4)
}

fn fault() -> BoxedStrategy<Value> {
    let percent = percentage;
    let delay = (duration(), percent())
        .prop_map(|(delay, percent)| json!({ "fixedDelay": delay, "percentage": percent }));
    let abort = (one(json!([{ "httpStatus": 503 }, { "grpcStatus": "UNAVAILABLE" }])), percent());
    let abort = abort.prop_map(|(mut abort, percent)| {
        abort["percentage"] = percent;
        abort
    });
    prop_oneof![
        delay.clone().prop_map(|delay| json!({ "delay": delay })),
        abort.clone().prop_map(|abort| json!({ "abort": abort })),
        (delay, abort).prop_map(|(delay, abort)| json!({ "delay": delay, "abort": abort })),
    ]
    .boxed()
}

fn routed() -> BoxedStrategy<Value> {
    let mirrored = destination();
    let mirrors =
        (destination(), percentage()).prop_map(|(to, of)| json!([{ "destination": to, "percentage": of }]));
    let copies = prop_oneof![
        3 => Just(json!({})),
        1 => (mirrored, percentage()).prop_map(|(to, of)| json!({ "mirror": to, "mirrorPercentage": of })),
        1 => mirrors.prop_map(|mirrors| json!({ "mirrors": mirrors })),
    ];
    let rest = some([
        (
            "rewrite",
            one(json!([
                { "uri": "/y" },
                { "authority": "inner.example" },
                { "uri": "/y/", "authority": "inner.example" },
                { "uriRegexRewrite": { "match": "/(x)/(.*)", "rewrite": "/\\2/\\1" } },
            ])),
        ),
        ("timeout", one(json!(["0s", "15s"]))),
        ("retries", retries()),
        ("fault", fault()),
        ("corsPolicy", cors()),
    ]);
    (route(), copies, rest)
        .prop_map(|(route, copies, mut rule)| {
            rule["route"] = route;
            for (key, value) in copies.as_object().into_iter().flatten() {
                rule[key] = value.clone();
            }
            rule
        })
        .boxed()
}

fn retries() -> BoxedStrategy<Value> {
    let on = json!([
        "5xx",
        "connect-failure,refused-stream",
        "503,retriable-4xx",
        "gateway-error,reset,unavailable"
    ]);
    let told = with(
        json!({ "attempts": 3 }),
        [
            ("perTryTimeout", one(json!(["1s", "250ms"]))),
            ("backoff", one(json!(["10ms", "1s"]))),
            ("retryOn", one(on)),
            ("retryRemoteLocalities", one(json!([true, false]))),
            ("retryIgnorePreviousHosts", one(json!([true, false]))),
        ],
    );
    prop_oneof![1 => Just(json!({ "attempts": 0 })), 3 => told].boxed()
}

fn cors() -> BoxedStrategy<Value> {
    with(
        json!({ "allowOrigins": [{ "exact": "https://page.example" }, { "regex": "https://.*\\.example" }] }),
        [
            ("allowMethods", one(json!([["GET", "POST"]]))),
            ("allowHeaders", one(json!([["x-a"]]))),
            ("exposeHeaders", one(json!([["x-b", "x-c"]]))),
            ("maxAge", one(json!(["1h"]))),
            ("allowCredentials", one(json!([true, false]))),
            ("unmatchedPreflights", one(json!(["FORWARD", "IGNORE"]))),
        ],
    )
}

fn http() -> BoxedStrategy<Value> {
    let redirect = prop_oneof![
        some([
            ("authority", one(json!(["other.example"]))),
            ("port", one(json!([8443]))),
            ("scheme", one(json!(["https"]))),
            ("redirectCode", one(json!([301, 302, 303, 307, 308]))),
        ])
        .prop_map(|mut redirect| {
            redirect["uri"] = json!("/new");
            redirect
        }),
        one(json!([{ "authority": "other.example", "derivePort": "FROM_REQUEST_PORT" }])),
    ];
    let answer = one(json!([
        { "status": 200 },
        { "status": 503, "body": { "string": "no %" } },
        { "status": 299, "body": { "bytes": "AAEC" } },
    ]));
    let action = prop_oneof![
        5 => routed(),
        1 => redirect.prop_map(|redirect| json!({ "redirect": redirect })),
        1 => answer.prop_map(|answer| json!({ "directResponse": answer })),
    ];
    let common =
        some([("name", one(json!(["told"]))), ("match", list(condition(), 1..4)), ("headers", headers())]);
    (action, common)
        .prop_map(|(mut rule, common)| {
            for (key, value) in common.as_object().into_iter().flatten() {
                rule[key] = value.clone();
            }
            rule
        })
        .boxed()
}

fn policy_parts() -> [(&'static str, BoxedStrategy<Value>); 3] {
    let hash = (
        one(json!([
            { "httpHeaderName": "x-user" },
            { "httpCookie": { "name": "user" } },
            { "httpCookie": { "name": "user", "ttl": "0s", "path": "/", "attributes": [{ "name": "SameSite", "value": "Lax" }] } },
            { "useSourceIp": true },
            { "httpQueryParameterName": "user" },
        ])),
        one(
            json!([{}, { "ringHash": { "minimumRingSize": 2048 } }, { "maglev": { "tableSize": 251 } }, { "maglev": {} }]),
        ),
    );
    let hash = hash.prop_map(|(mut hash, table)| {
        for (key, value) in table.as_object().into_iter().flatten() {
            hash[key] = value.clone();
        }
        json!({ "consistentHash": hash })
    });
    let warmup = with(
        json!({ "duration": "30s" }),
        [("minimumPercent", one(json!([0, 50]))), ("aggression", one(json!([1, 2.5])))],
    );
    let simple = (one(json!(["RANDOM", "LEAST_REQUEST", "ROUND_ROBIN"])), prop::option::of(warmup));
    let simple = simple.prop_map(|(simple, warmup)| match warmup {
        Some(warmup) if simple != "RANDOM" => json!({ "simple": simple, "warmup": warmup }),
        _ => json!({ "simple": simple }),
    });
    let places = one(json!([
        { "enabled": true },
        { "failover": [{ "from": "eu", "to": "us" }] },
        { "failoverPriority": ["version", "topology.kubernetes.io/zone"] },
        { "distribute": [{ "from": "*", "to": { "eu/*": 70, "us/*": 30 } }] },
    ]));
    let balancer = (prop_oneof![simple, hash], prop::option::of(places));
    let balancer = balancer.prop_map(|(mut balancer, places)| {
        if let Some(places) = places {
            balancer["localityLbSetting"] = places;
        }
        balancer
    });
    let numbers = || one(json!([0, 1, 1000]));
    let tcp = with(
        json!({ "maxConnections": 8 }),
        [
            ("maxConnections", numbers()),
            ("connectTimeout", duration()),
            ("idleTimeout", one(json!(["0s", "10m"]))),
            ("maxConnectionDuration", duration()),
            ("tcpKeepalive", one(json!([{}, { "probes": 3, "time": "30s", "interval": "5s" }]))),
        ],
    );
    let pool_http = with(
        json!({ "maxRetries": 3 }),
        [
            ("http1MaxPendingRequests", numbers()),
            ("http2MaxRequests", numbers()),
            ("maxRequestsPerConnection", numbers()),
            ("maxRetries", numbers()),
            ("idleTimeout", one(json!(["30s"]))),
            ("maxConcurrentStreams", one(json!([1, 100]))),
            ("http2KeepAlive", one(json!([{ "interval": "10s", "timeout": "5s" }]))),
        ],
    );
    let version = one(
        json!([{}, { "h2UpgradePolicy": "UPGRADE" }, { "h2UpgradePolicy": "DO_NOT_UPGRADE" }, { "useClientProtocol": true }]),
    );
    let pool_http = (pool_http, version).prop_map(|(mut http, version)| {
        for (key, value) in version.as_object().into_iter().flatten() {
            http[key] = value.clone();
        }
        http
    });
    let outlier = with(
        json!({ "interval": "3s" }),
        [
            ("baseEjectionTime", duration()),
            ("interval", duration()),
            ("consecutive5xxErrors", numbers()),
            ("consecutiveGatewayErrors", numbers()),
            ("maxEjectionPercent", one(json!([0, 50, 100]))),
            ("minHealthPercent", one(json!([0, 30]))),
        ],
    );
    let split =
        one(json!([{}, { "splitExternalLocalOriginErrors": true, "consecutiveLocalOriginFailures": 3 }]));
    let outlier = (outlier, split).prop_map(|(mut outlier, split)| {
        for (key, value) in split.as_object().into_iter().flatten() {
            outlier[key] = value.clone();
        }
        outlier
    });
    [
        ("loadBalancer", balancer.boxed()),
        (
            "connectionPool",
            with(json!({ "tcp": { "maxConnections": 7 } }), [("tcp", tcp), ("http", pool_http.boxed())]),
        ),
        ("outlierDetection", outlier.boxed()),
    ]
}

fn policy() -> BoxedStrategy<Value> {
    let [a, b, c] = policy_parts();
    let least = json!({ "simple": "LEAST_REQUEST" });
    let of_port = with(json!({ "port": { "number": 80 }, "loadBalancer": least }), policy_parts());
    let ports = of_port.prop_map(|of_port| json!([of_port])).boxed();
    let tls = one(json!([{ "mode": "DISABLE" }]));
    let told = one(json!([{}, { "version": "V1" }, { "version": "V2" }]));
    // One without anything is rejected.
    with(
        json!({ "loadBalancer": least }),
        [a, b, c, ("portLevelSettings", ports), ("tls", tls), ("proxyProtocol", told)],
    )
}

fn named(kind: &str, host: &str, spec: &Value) -> Value {
    let name = format!("{}-{}", host.split('.').next().unwrap(), kind.to_lowercase());
    json!({ "apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": { "name": name }, "spec": spec })
}

/// A VirtualService and a DestinationRule of that host.
pub(crate) fn documents(host: &'static str) -> impl Strategy<Value = [Value; 2]> {
    let subset = |name: &'static str| {
        let always = json!({ "name": name, "labels": { "version": name } });
        with(always, [("trafficPolicy", policy())])
    };
    let rule = some([("trafficPolicy", policy())]);
    (vec(http(), 1..5), subset("v1"), subset("v2"), rule).prop_map(move |(http, one, two, mut rule)| {
        rule["host"] = json!(host);
        rule["subsets"] = json!([one, two]);
        let routes = json!({ "hosts": [host], "http": http });
        [named("VirtualService", host, &routes), named("DestinationRule", host, &rule)]
    })
}
