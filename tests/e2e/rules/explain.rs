//! `pilot explain` beside a real Envoy: what it says of a request is what becomes of the request.

use std::process::Output;

use pilot::admin::ExplainReport;

use super::shop::{Asked, SUBSETS, Shop, virtual_service};
use crate::support::http::Connection;
use crate::support::wait::{holds, until};

const RULES: &str = "  - name: aborted
    match: [{uri: {prefix: /aborted}}]
    fault: {abort: {httpStatus: 418, percentage: {value: 100}}}
    route: [{destination: {host: cart.local}}]
  - match: [{headers: {end-user: {exact: jo}}, withoutHeaders: {x-test: {}}}, {queryParams: {v: {exact: \"2\"}}}]
    route: [{destination: {host: cart.local, subset: v2}}]
  - match: [{uri: {regex: \"/item/[0-9]+\"}, method: {exact: GET}}]
    route: [{destination: {host: stock.local}}]
  - match: [{uri: {exact: /Exact}, ignoreUriCase: true}]
    directResponse: {status: 203, body: {string: exact}}
  - match: [{uri: {prefix: /moved}}]
    redirect: {uri: /here, redirectCode: 302}
  - match: [{uri: {prefix: /gone}}]
    route: [{destination: {host: nowhere.local}}]
  - match: [{uri: {prefix: /}, withoutHeaders: {x-not: {exact: \"yes\"}}}]
    route: [{destination: {host: cart.local, subset: v1}}]
";

async fn run(shop: &Shop, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = shop.pilot.command(&[&["explain"], arguments].concat());
    let Output { status, stdout, stderr } =
        tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    (status.code(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}

async fn explained(shop: &Shop, asked: &Asked<'_>, more: &[&str]) -> ExplainReport {
    let url = format!("http://{}{}", asked.host, asked.path);
    let headers: Vec<String> = asked.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let headers = headers.iter().flat_map(|header| ["--header", header.as_str()]);
    let arguments: Vec<&str> =
        [url.as_str(), "-o", "json"].into_iter().chain(headers).chain(more.iter().copied()).collect();
    let (code, said) = run(shop, &arguments).await;
    assert_eq!(code, Some(0), "{said}");
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_explain_says_of_requests_is_what_becomes_of_them() {
    let document = virtual_service("cart", "cart.local", RULES);
    let loser = virtual_service("shadow", "cart.local", "  - directResponse: {status: 299}\n");
    let wild = virtual_service("wild", "\"*.local\"", "  - directResponse: {status: 298}\n");
    let rules = [
        ("cart.yaml", document.as_str()),
        ("subsets.yaml", SUBSETS),
        ("shadow.yaml", &loser),
        ("wild.yaml", &wild),
    ];
    let Some(shop) = Shop::open(&rules).await else { return };
    let at = |host, path, headers| Asked { host, path, headers };
    // The status, the rule of the document, and the backend.
    let cases: [(Asked<'_>, u16, &str, &str); 13] = [
        (at("cart.local", "/", &[]), 200, "spec.http[6]", "v1"),
        (at("cart.local", "/", &[("end-user", "jo")]), 200, "spec.http[1]", "v2"),
        (at("cart.local", "/", &[("end-user", "jo"), ("x-test", "1")]), 200, "spec.http[6]", "v1"),
        (at("cart.local", "/?a=b&v=2", &[]), 200, "spec.http[1]", "v2"),
        (at("cart.local", "/?v=22", &[]), 200, "spec.http[6]", "v1"),
        (at("cart.local:8080", "/item/77", &[]), 200, "spec.http[2]", "stock"),
        (at("cart.local", "/item/77x", &[]), 200, "spec.http[6]", "v1"),
        (at("cart.local", "/x/../item/1", &[]), 200, "spec.http[2]", "stock"),
        (at("cart.local", "/eXACT", &[]), 203, "spec.http[3]", ""),
        (at("cart.local", "/moved/x", &[]), 302, "spec.http[4]", ""),
        (at("cart.local", "/gone", &[]), 503, "spec.http[5]", ""),
        (at("CART.local", "/", &[("x-not", "yes")]), 404, "", ""),
        (at("nobody.example", "/", &[]), 404, "", ""),
    ];
    let path = shop.pilot.folder().join("rules").display().to_string();
    let mut wait = shop.pilot.command(&["wait", "--for", &path]);
    let waited = tokio::task::spawn_blocking(move || wait.output()).await.unwrap().unwrap();
    assert!(waited.status.success(), "{waited:?}");
    let places = [(shop.v1.socket(), "v1"), (shop.v2.socket(), "v2")];
    for (asked, status, rule, backend) in &cases {
        let answer = shop.until(&format!("{asked:?}"), asked, |answer| answer.status == *status).await;
        let report = explained(&shop, asked, &[]).await;
        assert_eq!(report.listener.as_ref().map(|it| it.name.as_str()), Some("http_listen"), "{report:?}");
        let last = report.routes.last();
        let found = last.filter(|step| step.why_not.is_none()).and_then(|step| step.rule.clone());
        assert_eq!(found.unwrap_or_default(), *rule, "{asked:?}: {report:#?}");
        if *status == 200 {
            assert_eq!(answer.body, *backend, "{asked:?}");
            assert!(report.destinations[0].trouble.is_none(), "{report:#?}");
            let addresses: Vec<_> =
                report.destinations[0].endpoints.iter().map(|it| it.address.clone()).collect();
            let named =
                places.iter().filter(|(at, _)| addresses.contains(&at.to_string())).map(|(_, name)| *name);
            let named: Vec<_> = named.collect();
            let expected = if *backend == "stock" { Vec::new() } else { vec![*backend] };
            assert_eq!(named, expected, "{asked:?}: {report:#?}");
        } else {
            let said = report
                .outcome
                .iter()
                .cloned()
                .chain(report.destinations.iter().filter_map(|it| it.trouble.clone()));
            let said = said.collect::<Vec<_>>().join("; ");
            assert!(said.contains(&status.to_string()), "{asked:?} is answered {status}: {said}");
        }
    }
    let report = explained(&shop, &cases[0].0, &[]).await;
    let why: Vec<_> = report.routes.iter().filter_map(|step| step.why_not.clone()).collect();
    assert_eq!(why[0], "path \"/\": expected one that begins with \"/aborted\"");
    assert_eq!(why[1], "header end-user is not there: expected \"jo\"");
    let shadowed: Vec<_> = report.shadowed.iter().map(|it| (it.document.as_str(), it.why.as_str())).collect();
    assert_eq!(
        shadowed[0],
        ("VirtualService/default/shadow", "VirtualService/default/cart comes first by name")
    );
    assert_eq!(shadowed[1].0, "VirtualService/default/wild");
    assert!(shadowed[1].1.contains("names the host exactly"), "{shadowed:?}");
    assert_eq!(report.destinations[0].policies, ["DestinationRule/default/cart"]);
    // As the connected Envoy sees it, at the port that the client dials.
    let proxies = shop.pilot.debug("/debug/proxies").await.unwrap();
    let id = proxies["proxies"][0]["id"].as_str().unwrap().to_owned();
    let listener = format!("{}_8080", shop.pilot.address());
    let by_port = explained(&shop, &cases[1].0, &["--proxy", &id, "--listener", &listener]).await;
    assert_eq!(by_port.routes.last().unwrap().rule.as_deref(), Some("spec.http[1]"), "{by_port:#?}");
    assert!(by_port.connected, "{by_port:?}");
    let answer =
        Connection::open(shop.envoy.port(8080)).await.unwrap().send(cases[1].0.builder()).await.unwrap();
    assert_eq!(answer.body, "v2");
    // Of the fault, chance decides: its share is told.
    let aborted = explained(&shop, &at("cart.local", "/aborted", &[]), &[]).await;
    assert_eq!(aborted.outcome[0], "100 % of requests are answered 418");
    let (_, table) = run(&shop, &["cart.local"]).await;
    assert!(table.contains("as a proxy that says nothing of itself (router in default)"), "{table}");
    assert!(table.contains("domain cart.local, of VirtualService/default/cart"), "{table}");
    shop.envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_of_weights_are_told_as_envoy_sends_requests() {
    let http = "  - route:
    - {destination: {host: cart.local, subset: v1}, weight: 3}
    - {destination: {host: cart.local, subset: v2}, weight: 1}
    mirror: {host: stock.local}
    mirrorPercentage: {value: 12.5}
";
    let Some(shop) =
        Shop::open(&[("cart.yaml", &virtual_service("cart", "cart.local", http)), ("subsets.yaml", SUBSETS)])
            .await
    else {
        return;
    };
    let asked = Asked { host: "cart.local", path: "/", headers: &[] };
    until("pilot serves the document", async || {
        let report = explained(&shop, &asked, &[]).await;
        let shares: Vec<_> =
            report.destinations.iter().map(|it| it.share.clone().unwrap_or_default()).collect();
        holds(
            shares == ["75 % of requests", "25 % of requests", "a copy of 12.5 % of requests"],
            format!("{report:#?}"),
        )
    })
    .await;
    let unknown = run(&shop, &["cart.local", "--proxy", "nobody"]).await;
    assert_eq!(unknown.0, Some(1), "{}", unknown.1);
    for (arguments, words) in [
        (vec!["cart.local", "--listener", "nope"], "no listener \"nope\" (known: "),
        (vec!["cart.local", "--header", "x"], "expected name: value"),
    ] {
        let (code, said) = run(&shop, &arguments).await;
        assert!(code != Some(0) && said.contains(words), "{arguments:?}: {said}");
    }
}
