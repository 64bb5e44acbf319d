//! Retries, faults and cross-origin requests of a route.

use super::super::{Report, words};
use super::matches::string_match;
use crate::rules::GRPC_STATUSES;
use crate::rules::kinds::{CorsPolicy, FaultInjection, HttpMatch, HttpRoute, Percent, Retries, StringMatch};
use crate::rules::node::Path;

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

pub(super) fn retries(retries: &Retries, route: &HttpRoute, path: &Path<'_>, report: &mut Report<'_>) {
    words::lasts(retries.per_try_timeout, &path.key("perTryTimeout"), report);
    words::lasts(retries.backoff, &path.key("backoff"), report);
    if let (Some(each), Some(all)) = (retries.per_try_timeout, route.timeout)
        && each.0 > all.0
        && !all.0.is_zero()
    {
        let message =
            "it is longer than the rule's timeout, which ends the request before: no try is ever given up";
        report.warning(&path.key("perTryTimeout"), message);
    }
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

pub(super) fn fault(fault: &FaultInjection, route: &HttpRoute, path: &Path<'_>, report: &mut Report<'_>) {
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
    if route.retries.is_some() || (route.timeout.is_some() && fault.delay.is_some()) {
        report.warning(path, "retries do not see a fault, and timeout does not cover its delay");
    }
}

/// How many requests a fault is for.
fn share(percentage: Option<Percent>, is_old: bool, path: &Path<'_>, report: &mut Report<'_>) {
    match percentage {
        None if !is_old => {
            report.warning(path, "it never happens: without percentage it is for 0 % of the requests")
        }
        Some(Percent { value: 0.0 }) => {
            report.warning(&path.key("percentage"), "it never happens: it is for 0 % of the requests")
        }
        Some(Percent { value }) if value > 0.0 && value < 0.0001 => {
            let message = format!("{value} does not fit: expected 0, or at least 0.0001");
            report.error(&path.key("percentage").key("value"), message);
        }
        _ => {}
    }
}

/// Methods that a browser may ask for (RFC 9110, RFC 5789).
const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"];

pub(super) fn cors(cors: &CorsPolicy, route: &HttpRoute, path: &Path<'_>, report: &mut Report<'_>) {
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
