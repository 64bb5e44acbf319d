//! What no shape can say of a VirtualService.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use ::regex::Regex;

use super::super::envelope::dns_label;
use super::super::kinds::{
    CorsPolicy, Destination, DirectResponse, Fault, HeaderOperations, Headers, HttpMatch, HttpRoute, Percent,
    Redirect, Retries, Rewrite, RouteDestination, StringMatch, ValueMatch, VirtualService,
};
use super::super::{node::Path, regex};
use super::commands::COMMANDS;
use super::{Report, words};
use crate::rules::{GRPC_STATUSES, ROUTES_MAX};

/// The name of the gateway that stands for all proxies of the mesh.
const MESH: &str = "mesh";

/// Says what is wrong with a VirtualService.
pub(in super::super) fn virtual_service(rule: &VirtualService, report: &mut Report<'_>) {
    let spec = Path::new("spec");
    let is_delegate = rule.hosts.is_empty();
    hosts(rule, &spec.key("hosts"), report);
    words::gateways(&rule.gateways, &spec.key("gateways"), report);
    words::export_to(&rule.export_to, &spec.key("exportTo"), report);
    if rule.http.is_empty() {
        report.error(&spec, "it has no rules: expected http");
    }
    if is_delegate && !rule.gateways.is_empty() {
        let message =
            "a document without hosts counts where others delegate to it: leave gateways out, or write hosts";
        report.error(&spec.key("gateways"), message);
    }
    let http = spec.key("http");
    let (routes, most, hosts) = (rule.own_routes(), rule.routes_max(), rule.hosts.len());
    if routes > most {
        let message = format!(
            "its rules have {routes} matches, at each of {hosts} hosts: expected at most {ROUTES_MAX} for all hosts together; \
             write several documents, or a regex in the place of many matches"
        );
        report.error(&http, message);
    }
    let mut taken = None;
    for (i, route) in rule.http.iter().enumerate() {
        let path = http.index(i);
        if let Some(before) = taken {
            report.warning(&path, format!("it is never reached: http[{before}] takes all requests"));
        } else if takes_all(route) {
            taken = Some(i);
        }
        http_route(route, is_delegate, &path, report);
    }
}

fn hosts(rule: &VirtualService, path: &Path<'_>, report: &mut Report<'_>) {
    let is_of_mesh = rule.gateways.is_empty() || rule.gateways.iter().any(|gateway| gateway == MESH);
    let (mut firsts, mut wildcards) = (BTreeMap::new(), BTreeMap::new());
    for (i, host) in rule.hosts.iter().enumerate().rev() {
        firsts.insert(host.to_ascii_lowercase(), i);
        wildcards.extend(host.strip_prefix('*').map(|suffix| (suffix, i)));
    }
    for (i, host) in rule.hosts.iter().enumerate() {
        let path = path.index(i);
        report.check(&path, words::called_host(host));
        if host == "*" && is_of_mesh {
            report.error(&path, "\"*\" is for gateways only: write the hosts, or gateways without mesh");
        }
        let same = firsts.get(&host.to_ascii_lowercase()).copied().filter(|first| *first < i);
        let is_narrow = host != "*" && host.len() <= LONGEST_HOST;
        let wider = || words::suffixes(host).find_map(|suffix| wildcards.get(suffix).copied());
        if let Some(j) = same.or_else(|| wider().filter(|j| is_narrow && *j != i)) {
            let other = &rule.hosts[j];
            report.error(&path, format!("{host:?} is there twice: hosts[{j}] is {other:?}"));
        }
    }
}

/// Longer ones are no hosts, which is said already (RFC 1035, 3.1).
const LONGEST_HOST: usize = 253 + 2;

/// Whether no request and no proxy gets past a rule.
fn takes_all(route: &HttpRoute) -> bool {
    let is_open = |condition: &HttpMatch| {
        let everything = HttpMatch {
            name: condition.name.clone(),
            uri: condition.uri.clone(),
            ignore_uri_case: condition.ignore_uri_case,
            stat_prefix: condition.stat_prefix.clone(),
            ..HttpMatch::default()
        };
        let is_any_path = condition.uri.as_ref().is_none_or(|uri| {
            uri.prefix.as_deref().is_some_and(|prefix| matches!(prefix, "" | "/"))
                || uri.regex.as_ref().is_some_and(|regex| regex.0 == ".*")
        });
        is_any_path && *condition == everything
    };
    route.matches.is_empty() || route.matches.iter().any(is_open)
}

fn http_route(route: &HttpRoute, is_delegate: bool, path: &Path<'_>, report: &mut Report<'_>) {
    let answers = route.redirect.is_some() || route.direct_response.is_some();
    if route.route.is_empty() && !answers && route.delegate.is_none() {
        report.error(path, "it does nothing: expected route, redirect, directResponse or delegate");
    }
    let matches = path.key("match");
    for (i, condition) in route.matches.iter().enumerate() {
        http_match(condition, &matches.index(i), report);
    }
    destinations(&route.route, &path.key("route"), report);
    if let Some(redirect) = &route.redirect {
        self::redirect(redirect, route, &path.key("redirect"), report);
    }
    if let Some(response) = &route.direct_response {
        direct_response(response, &path.key("directResponse"), report);
    }
    if let Some(delegate) = &route.delegate {
        let path = path.key("delegate");
        if is_delegate {
            report
                .error(&path, "a document without hosts, to which others delegate, cannot delegate further");
        }
        if let Some(namespace) = &delegate.namespace {
            report.check(&path.key("namespace"), dns_label(namespace));
        }
    }
    if answers {
        unused_beside_answers(route, path, report);
    }
    if let Some(rewrite) = &route.rewrite {
        self::rewrite(rewrite, route, &path.key("rewrite"), report);
    }
    if let Some(retries) = &route.retries {
        self::retries(retries, &path.key("retries"), report);
    }
    if let Some(fault) = &route.fault {
        self::fault(fault, route, &path.key("fault"), report);
    }
    mirrors(route, path, report);
    if let Some(cors) = &route.cors_policy {
        self::cors(cors, route, &path.key("corsPolicy"), report);
    }
    if let Some(headers) = &route.headers {
        self::headers(headers, &path.key("headers"), report);
    }
}

/// What a proxy that answers by itself does nothing with.
fn unused_beside_answers(route: &HttpRoute, path: &Path<'_>, report: &mut Report<'_>) {
    if route.rewrite.is_some() {
        report.error(
            &path.key("rewrite"),
            "it excludes redirect and directResponse: nothing is sent to a destination",
        );
    }
    let unused = [
        ("timeout", route.timeout.is_some()),
        ("retries", route.retries.is_some()),
        ("mirror", route.mirror.is_some()),
        ("mirrors", !route.mirrors.is_empty()),
    ];
    for (key, _) in unused.into_iter().filter(|(_, is_there)| *is_there) {
        let message = "it means nothing beside redirect or directResponse: nothing is sent to a destination";
        report.warning(&path.key(key), message);
    }
}

fn http_match(condition: &HttpMatch, path: &Path<'_>, report: &mut Report<'_>) {
    let texts = [
        ("uri", &condition.uri),
        ("scheme", &condition.scheme),
        ("method", &condition.method),
        ("authority", &condition.authority),
    ];
    for (key, text) in texts.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?))) {
        string_match(text, key == "uri", &path.key(key), report);
    }
    if let Some(uri) = &condition.uri {
        let plain = uri.exact.as_ref().or(uri.prefix.as_ref());
        if let Some(field) = never_a_path(uri) {
            let message = "it never matches: a path begins with \"/\"";
            report.warning(&path.key("uri").key(field), message);
        } else if plain.is_some_and(|plain| plain.contains('?')) {
            let message = "it never matches: the query is not a part of uri. Write queryParams";
            report.warning(&path.key("uri"), message);
        }
    }
    for (key, values) in [("headers", &condition.headers), ("withoutHeaders", &condition.without_headers)] {
        let path = path.key(key);
        for (name, value) in values {
            header_match(name, value, &path.key(name), report);
        }
    }
    for (name, value) in &condition.query_params {
        if name.is_empty() {
            report.error(&path.key("queryParams"), "\"\" is no parameter: expected a name");
        }
        value_match(value, &path.key("queryParams").key(name), report);
    }
    words::labels(&condition.source_labels, &path.key("sourceLabels"), report);
    words::gateways(&condition.gateways, &path.key("gateways"), report);
    if let Some(namespace) = &condition.source_namespace {
        report.check(&path.key("sourceNamespace"), dns_label(namespace));
    }
    if !condition.gateways.is_empty() {
        for (key, is_there) in [
            ("sourceLabels", !condition.source_labels.is_empty()),
            ("sourceNamespace", condition.source_namespace.is_some()),
        ] {
            if is_there {
                report.warning(&path.key(key), "it does not count: this match names gateways");
            }
        }
    }
}

/// The field by which no path matches, if there is one. A request for a server as a whole has the path `*`.
fn never_a_path(uri: &StringMatch) -> Option<&'static str> {
    let is_path = |text: &str| text.starts_with('/');
    match uri {
        StringMatch { exact: Some(exact), .. } => (!is_path(exact) && exact != "*").then_some("exact"),
        StringMatch { prefix: Some(prefix), .. } => {
            (!is_path(prefix) && !prefix.is_empty()).then_some("prefix")
        }
        StringMatch { regex: Some(regex), .. } => (regex::never_begins_with(&regex.0, '/')
            && regex::never_begins_with(&regex.0, '*'))
        .then_some("regex"),
        _ => None,
    }
}

fn string_match(text: &StringMatch, is_uri: bool, path: &Path<'_>, report: &mut Report<'_>) {
    match (&text.exact, &text.prefix, &text.regex) {
        (None, None, None) => report.error(path, "it is empty: expected exact, prefix or regex"),
        (_, Some(prefix), _) if prefix.is_empty() && !is_uri => {
            report.error(&path.key("prefix"), "it is empty")
        }
        _ => {}
    }
}

fn value_match(value: &ValueMatch, path: &Path<'_>, report: &mut Report<'_>) {
    if value.prefix.as_ref().is_some_and(String::is_empty) {
        report.error(&path.key("prefix"), "it is empty");
    }
}

fn header_match(name: &str, value: &ValueMatch, path: &Path<'_>, report: &mut Report<'_>) {
    value_match(value, path, report);
    if name.starts_with("@request.auth") {
        report.error(path, "claims of tokens are not served: there is no filter that reads tokens");
        return;
    }
    let field = name.strip_prefix(':').unwrap_or(name).to_ascii_lowercase();
    match field.as_str() {
        "uri" | "scheme" | "method" | "authority" if !name.starts_with(':') => {
            report.error(path, format!("there is no such header: write {field} beside headers"));
        }
        "uri" => report.error(path, "there is no such header: write uri beside headers"),
        _ => report.check(path, words::header_name(&field)),
    }
}

fn destinations(route: &[RouteDestination], path: &Path<'_>, report: &mut Report<'_>) {
    let is_split = route.len() > 1;
    let sum: u64 = route.iter().map(|destination| u64::from(destination.weight)).sum();
    if is_split && sum == 0 {
        report.error(
            path,
            "several destinations, and the sum of their weights is 0: expected a weight for each",
        );
    }
    if sum > u64::from(u32::MAX) {
        report.error(path, format!("the sum of the weights is {sum}: expected at most {}", u32::MAX));
    }
    for (i, weighted) in route.iter().enumerate() {
        let path = path.index(i);
        destination(&weighted.destination, &path.key("destination"), report);
        if is_split && weighted.weight == 0 && sum > 0 {
            report.warning(&path, "its weight is 0: it gets no requests");
        }
        if let Some(headers) = &weighted.headers {
            self::headers(headers, &path.key("headers"), report);
        }
    }
}

fn destination(destination: &Destination, path: &Path<'_>, report: &mut Report<'_>) {
    report.check(&path.key("host"), words::host(&destination.host));
    if let Some(subset) = &destination.subset {
        report.check(&path.key("subset"), dns_label(subset));
    }
}

fn redirect(redirect: &Redirect, route: &HttpRoute, path: &Path<'_>, report: &mut Report<'_>) {
    let parts = [
        redirect.uri.is_some(),
        redirect.prefix_rewrite.is_some(),
        redirect.authority.is_some(),
        redirect.port.is_some() || redirect.derive_port.is_some(),
        redirect.scheme.is_some(),
    ];
    if !parts.contains(&true) {
        report.error(path, "it leads nowhere: expected uri, prefixRewrite, authority, port or scheme");
    }
    let is_prefix = |condition: &HttpMatch| condition.uri.as_ref().is_some_and(|uri| uri.prefix.is_some());
    if redirect.prefix_rewrite.is_some() && !route.matches.iter().all(is_prefix) {
        let message = "it stands in place of the prefix that matched: expected uri.prefix in each match";
        report.error(&path.key("prefixRewrite"), message);
    }
    new_path(redirect.uri.as_deref(), &path.key("uri"), report);
    new_path(redirect.prefix_rewrite.as_deref(), &path.key("prefixRewrite"), report);
    report.check(&path.key("authority"), words::one_line(redirect.authority.as_deref().unwrap_or_default()));
    if let Some(code) = redirect.redirect_code
        && ![301, 302, 303, 307, 308].contains(&code)
    {
        report.error(
            &path.key("redirectCode"),
            format!("{code} does not fit: expected 301, 302, 303, 307 or 308"),
        );
    }
}

/// What stands in place of a path, or of its beginning.
fn new_path(text: Option<&str>, path: &Path<'_>, report: &mut Report<'_>) {
    let Some(text) = text else { return };
    report.check(path, words::one_line(text));
    if !text.starts_with('/') && !text.is_empty() {
        report.warning(path, format!("{text:?} does not begin with \"/\", as paths do"));
    }
}

/// The largest body of an answer, in bytes.
const LARGEST_BODY: usize = 1 << 20;

fn direct_response(response: &DirectResponse, path: &Path<'_>, report: &mut Report<'_>) {
    let Some(body) = &response.body else { return };
    let path = path.key("body");
    let size = match (&body.string, &body.bytes) {
        (Some(text), _) => text.len(),
        (None, Some(encoded)) => match body.decoded() {
            Some(bytes) => bytes.len(),
            None => {
                report.error(&path.key("bytes"), format!("{:?} is no base64", cut(encoded)));
                return;
            }
        },
        (None, None) => {
            report.error(&path, "it is empty: expected string or bytes");
            return;
        }
    };
    if size > LARGEST_BODY {
        report.error(&path, format!("it has {size} bytes: expected at most {LARGEST_BODY}"));
    } else if size > LARGEST_BODY / 10 {
        report.warning(&path, format!("it has {size} bytes, which every proxy keeps in memory"));
    }
}

fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

fn rewrite(rewrite: &Rewrite, route: &HttpRoute, path: &Path<'_>, report: &mut Report<'_>) {
    if *rewrite == Rewrite::default() {
        report.error(path, "it is empty: expected uri, authority or uriRegexRewrite");
    }
    if rewrite.authority.is_some() {
        let lists = route.route.iter().map(|destination| &destination.headers).chain([&route.headers]);
        let sets_host = |headers: &Headers| {
            headers
                .request
                .as_ref()
                .is_some_and(|request| request.set.keys().chain(request.add.keys()).any(|name| is_host(name)))
        };
        if lists.flatten().any(sets_host) {
            report
                .error(&path.key("authority"), "the host is also set under headers: expected one of the two");
        }
    }
    report.check(&path.key("authority"), words::one_line(rewrite.authority.as_deref().unwrap_or_default()));
    if let Some(by_regex) = &rewrite.uri_regex_rewrite {
        let path = path.key("uriRegexRewrite");
        let path = path.key("rewrite");
        report.check(&path, words::one_line(&by_regex.rewrite));
        report.check(&path, substitution(&by_regex.rewrite, &by_regex.pattern.0));
    }
    let Some(uri) = &rewrite.uri else { return };
    if uri.is_empty() {
        report.error(&path.key("uri"), "it is empty, which rewrites nothing: expected a path, like /");
    }
    new_path(Some(uri), &path.key("uri"), report);
    let joins = |condition: &HttpMatch| {
        let prefix = condition.uri.as_ref().and_then(|uri| uri.prefix.as_deref());
        prefix.is_some_and(|prefix| !prefix.ends_with('/') && uri.ends_with('/'))
    };
    if let Some(i) = route.matches.iter().position(joins) {
        let message = format!(
            "the prefix of match[{i}] has no \"/\" at its end and this has one: PREFIX/x becomes //x. Match PREFIX/ first, \
             with the same rewrite, and exact PREFIX"
        );
        report.warning(&path.key("uri"), message);
    }
}

/// What RE2 puts in place of a match: `\\1` is the first group, and `\\\\` a backslash.
fn substitution(text: &str, pattern: &str) -> Result<(), String> {
    let Some(groups) = regex::groups(pattern) else { return Ok(()) };
    let mut signs = text.chars();
    while let Some(sign) = signs.next() {
        if sign != '\\' {
            continue;
        }
        match signs.next() {
            Some('\\') => {}
            Some(digit) if digit.to_digit(10).is_some_and(|group| group as usize <= groups) => {}
            Some(digit) if digit.is_ascii_digit() => {
                return Err(format!("\\{digit} is no group of match: expected \\0 to \\{groups}"));
            }
            _ => return Err("a backslash stands before the number of a group, or another one".to_owned()),
        }
    }
    Ok(())
}

fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority")
}

/// Envoy's words for what is tried again, for HTTP and gRPC.
const RETRY_ON: [&str; 19] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
    "unknown",
    "aborted",
    "data-loss",
];

fn retries(retries: &Retries, path: &Path<'_>, report: &mut Report<'_>) {
    words::lasts(retries.per_try_timeout, &path.key("perTryTimeout"), report);
    words::lasts(retries.backoff, &path.key("backoff"), report);
    if retries.attempts == Some(0) {
        let beside = Retries { attempts: None, ..retries.clone() };
        if beside != Retries::default() {
            report.error(
                &path.key("attempts"),
                "0 switches retries off: leave the other fields out, or write 1 or more",
            );
        }
    }
    let words = retries.retry_on.as_deref().unwrap_or_default().split(',').map(str::trim);
    for word in words.filter(|word| !word.is_empty()) {
        let is_status = word.parse::<u16>().is_ok_and(|status| (100..600).contains(&status));
        if !is_status && !RETRY_ON.contains(&word) {
            let message = format!("{word:?} does not fit: expected statuses, or {}", RETRY_ON.join(", "));
            report.error(&path.key("retryOn"), message);
        }
    }
}

fn fault(fault: &Fault, route: &HttpRoute, path: &Path<'_>, report: &mut Report<'_>) {
    if fault.delay.is_none() && fault.abort.is_none() {
        report.error(path, "it is empty: expected delay or abort");
    }
    if let Some(delay) = &fault.delay {
        let path = path.key("delay");
        if delay.fixed_delay.is_none() {
            report.error(&path, "it does nothing: expected fixedDelay");
        }
        words::lasts(delay.fixed_delay, &path.key("fixedDelay"), report);
        share(delay.percentage, delay.percent.is_some(), &path, report);
    }
    if let Some(abort) = &fault.abort {
        let path = path.key("abort");
        if abort.http_status.is_none() && abort.grpc_status.is_none() {
            report.error(&path, "it does nothing: expected httpStatus or grpcStatus");
        }
        if let Some(status) = &abort.grpc_status
            && !GRPC_STATUSES.contains(&status.as_str())
        {
            let message = format!("{status:?} does not fit: expected one of {}", GRPC_STATUSES.join(", "));
            report.error(&path.key("grpcStatus"), message);
        }
        share(abort.percentage, false, &path, report);
    }
    if route.retries.is_some() {
        report.warning(path, "retries do not see a fault, and timeout does not cover its delay");
    }
}

/// How many requests a fault is for.
fn share(percentage: Option<Percent>, is_old: bool, path: &Path<'_>, report: &mut Report<'_>) {
    match percentage {
        None if !is_old => {
            report.warning(path, "it never happens: without percentage it is for 0 % of the requests")
        }
        Some(Percent { value }) if value > 0.0 && value < 0.0001 => {
            let message = format!("{value} does not fit: expected 0, or at least 0.0001");
            report.error(&path.key("percentage").key("value"), message);
        }
        _ => {}
    }
}

fn mirrors(route: &HttpRoute, path: &Path<'_>, report: &mut Report<'_>) {
    if let Some(mirror) = &route.mirror {
        destination(mirror, &path.key("mirror"), report);
    } else {
        let shares = [
            ("mirrorPercentage", route.mirror_percentage.is_some()),
            ("mirrorPercent", route.mirror_percent.is_some()),
        ];
        for (key, _) in shares.into_iter().filter(|(_, is_there)| *is_there) {
            report.warning(&path.key(key), "it means nothing without mirror");
        }
    }
    let list = path.key("mirrors");
    for (i, mirror) in route.mirrors.iter().enumerate() {
        destination(&mirror.destination, &list.index(i).key("destination"), report);
    }
}

/// Methods that a browser may ask for (RFC 9110, RFC 5789).
const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"];

fn cors(cors: &CorsPolicy, route: &HttpRoute, path: &Path<'_>, report: &mut Report<'_>) {
    let origins = path.key("allowOrigins");
    for (i, origin) in cors.allow_origins.iter().enumerate() {
        string_match(origin, false, &origins.index(i), report);
    }
    let methods = path.key("allowMethods");
    for (i, method) in cors.allow_methods.iter().enumerate() {
        if !METHODS.contains(&method.as_str()) {
            report.error(
                &methods.index(i),
                format!("{method:?} is no method: expected one of {}", METHODS.join(", ")),
            );
        }
    }
    for (key, names) in [("allowHeaders", &cors.allow_headers), ("exposeHeaders", &cors.expose_headers)] {
        let list = path.key(key);
        for (i, name) in names.iter().enumerate() {
            report.check(&list.index(i), words::header_name(name));
        }
    }
    if cors.max_age.is_some_and(|age| age.0.subsec_nanos() > 0) {
        report.error(&path.key("maxAge"), "expected whole seconds");
    }
    let hides_preflights = |condition: &HttpMatch| {
        let is_options = |method: &StringMatch| method.exact.as_deref() == Some("OPTIONS");
        !condition.headers.is_empty() || condition.method.as_ref().is_some_and(|method| !is_options(method))
    };
    if !route.matches.is_empty() && route.matches.iter().all(hides_preflights) {
        let message = "a browser's preflight is an OPTIONS request without the headers of the real one: this rule does not \
                       match it";
        report.warning(path, message);
    }
}

fn headers(headers: &Headers, path: &Path<'_>, report: &mut Report<'_>) {
    if let Some(request) = &headers.request {
        operations(request, true, &path.key("request"), report);
    }
    if let Some(response) = &headers.response {
        operations(response, false, &path.key("response"), report);
    }
}

fn operations(operations: &HeaderOperations, is_request: bool, path: &Path<'_>, report: &mut Report<'_>) {
    let mut hosts = BTreeSet::new();
    for (key, values) in [("set", &operations.set), ("add", &operations.add)] {
        values_are_right(values, is_request, &path.key(key), &mut hosts, report);
    }
    if hosts.len() > 1 {
        report.error(path, "the host is there with different values");
    }
    let remove = path.key("remove");
    for (i, name) in operations.remove.iter().enumerate() {
        let path = remove.index(i);
        if is_host(name) || name.starts_with(':') {
            report.error(&path, format!("{name:?} cannot be taken away: every request and response has it"));
        } else {
            report.check(&path, words::header_name(name));
        }
    }
}

fn values_are_right<'a>(
    values: &'a BTreeMap<String, String>,
    is_request: bool,
    path: &Path<'_>,
    hosts: &mut BTreeSet<&'a str>,
    report: &mut Report<'_>,
) {
    for (name, value) in values {
        let path = path.key(name);
        if is_host(name) {
            if is_request {
                hosts.insert(value);
            } else {
                report.error(&path, "a response has no host");
            }
        } else if name.starts_with(':') {
            report.error(&path, "it is no header, but a part of the request or response: write rewrite");
        } else {
            report.check(&path, words::header_name(name));
        }
        match commands(value) {
            Err(message) => report.error(&path, message),
            Ok(names) => {
                for name in names.into_iter().filter(|name| !COMMANDS.contains(name)) {
                    let message = "is no command of an Envoy that is known: such a one refuses the route";
                    report.warning(&path, format!("%{name}% {message}"));
                }
            }
        }
    }
}

/// The longest that Envoy takes, in bytes.
const LONGEST_VALUE: usize = 16_384;

/// The names of the commands in a value: Envoy replaces `%NAME%`, `%NAME(x)%` and `%NAME(x):12%`, and `%%` is a percent sign.
fn commands(value: &str) -> Result<Vec<&str>, String> {
    static COMMAND: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^%([A-Z0-9_]+)(?:\([^)]*\))?(?::[0-9]+)?%").expect("it is tested"));
    if let Some(c) = value.chars().find(|c| c.is_control() && *c != '\t') {
        return Err(format!("{value:?} has a control character, {c:?}"));
    }
    if value.len() > LONGEST_VALUE {
        return Err(format!("it has {} bytes: expected at most {LONGEST_VALUE}", value.len()));
    }
    let (mut names, mut rest) = (Vec::new(), value);
    while let Some(at) = rest.find('%') {
        rest = &rest[at..];
        if let Some(behind) = rest.strip_prefix("%%") {
            rest = behind;
        } else if let Some(found) = COMMAND.captures(rest) {
            names.extend(found.get(1).map(|name| name.as_str()));
            rest = &rest[found[0].len()..];
        } else if rest[1..].contains('%') {
            let message = "has no command of Envoy's between percent signs: expected one like %PROTOCOL% or %REQ(x-user)%, \
                           and %% for a percent sign";
            return Err(format!("{value:?} {message}"));
        } else {
            return Err(format!("{value:?} has a single percent sign: write %% for one"));
        }
    }
    Ok(names)
}
