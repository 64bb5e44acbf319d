//! What happens to requests on their way: retries, faults, mirrors, CORS.

use std::collections::BTreeMap;

use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_envoy_api::envoy::config::route::v3 as route;
use pilot_envoy_api::envoy::extensions::filters::common::fault::v3 as common_fault;
use pilot_envoy_api::envoy::extensions::filters::http::cors::v3 as cors;
use pilot_envoy_api::envoy::extensions::filters::http::fault::v3 as http_fault;
use pilot_envoy_api::envoy::r#type::v3 as kinds;
use pilot_envoy_api::google::protobuf::{Any, BoolValue};
use pilot_envoy_api::to_any;

use super::{Asker, Destinations, matches};
use crate::rules::kinds::{
    Abort, CorsPolicy, Delay, Destination, FaultInjection, HttpRoute, Percent, Retries, StringMatch,
    UnmatchedPreflights,
};
use crate::translate::routes;
use crate::translate::source::{boolean, duration, uint32};

/// Envoy's names of the filters whose behaviour a route decides.
pub(in crate::translate) const FAULT_FILTER: &str = "envoy.filters.http.fault";
/// See [`FAULT_FILTER`].
pub(in crate::translate) const CORS_FILTER: &str = "envoy.filters.http.cors";

/// The retries of a rule; `None` = none. What a rule does not say is as it is without rules.
pub(super) fn retry_policy(retries: Option<&Retries>, is_hashed: bool) -> Option<route::RetryPolicy> {
    let usual = routes::envoy_retries(true);
    let Some(retries) = retries else { return Some(usual) };
    if retries.attempts == Some(0) {
        return None;
    }
    let (retry_on, retriable_status_codes) = match &retries.retry_on {
        Some(words) => retry_on(words),
        None => (usual.retry_on.clone(), Vec::new()),
    };
    let ignores_previous = retries.retry_ignore_previous_hosts.unwrap_or(!is_hashed);
    let leaves_priority = retries.retry_remote_localities.unwrap_or(true);
    let backoff = retries.backoff.map(|backoff| route::retry_policy::RetryBackOff {
        base_interval: duration(backoff.0),
        ..Default::default()
    });
    Some(route::RetryPolicy {
        retry_on,
        retriable_status_codes,
        num_retries: retries.attempts.map_or(usual.num_retries, uint32),
        per_try_timeout: retries.per_try_timeout.and_then(|timeout| duration(timeout.0)),
        retry_back_off: backoff,
        host_selection_retry_max_attempts: if ignores_previous {
            usual.host_selection_retry_max_attempts
        } else {
            0
        },
        retry_host_predicate: if ignores_previous { usual.retry_host_predicate } else { Vec::new() },
        retry_priority: usual.retry_priority.filter(|_| leaves_priority),
        ..Default::default()
    })
}

/// Envoy's words, and the statuses among them.
fn retry_on(words: &str) -> (String, Vec<u32>) {
    let words = words.split(',').map(str::trim).filter(|word| !word.is_empty());
    let (statuses, mut words): (Vec<&str>, Vec<&str>) = words.partition(|word| word.parse::<u32>().is_ok());
    let statuses: Vec<u32> = statuses.iter().filter_map(|status| status.parse().ok()).collect();
    if !statuses.is_empty() && !words.contains(&"retriable-status-codes") {
        words.push("retriable-status-codes");
    }
    (words.join(","), statuses)
}

/// Who gets copies of requests.
pub(super) fn mirrors(
    rule: &HttpRoute,
    asker: Asker<'_>,
    destinations: &impl Destinations,
) -> Vec<route::route_action::RequestMirrorPolicy> {
    let old = rule.mirror_percent.map(|percent| Percent { value: f64::from(percent) });
    let one = rule.mirror.as_ref().map(|mirror| (mirror, rule.mirror_percentage.or(old)));
    let several = rule.mirrors.iter().map(|mirror| (&mirror.destination, mirror.percentage));
    let all = one.into_iter().chain(several);
    let taking = all.filter(|(_, share)| share.is_none_or(|share| share.value > 0.0));
    taking.map(|(destination, share)| mirror(destination, share, asker, destinations)).collect()
}

fn mirror(
    destination: &Destination,
    share: Option<Percent>,
    asker: Asker<'_>,
    destinations: &impl Destinations,
) -> route::route_action::RequestMirrorPolicy {
    route::route_action::RequestMirrorPolicy {
        cluster: destinations.cluster(destination, asker.port),
        runtime_fraction: share.map(|share| core::RuntimeFractionalPercent {
            default_value: Some(fraction(share)),
            ..Default::default()
        }),
        // A copy is not a part of what the client waits for.
        trace_sampled: boolean(false),
        ..Default::default()
    }
}

/// What filters do with the requests of a rule.
pub(super) fn filters(rule: &HttpRoute) -> BTreeMap<String, Any> {
    let fault = rule.fault.as_ref().map(|fault| (FAULT_FILTER.to_owned(), to_any(&self::fault(fault))));
    let cors = rule.cors_policy.as_ref().map(|cors| (CORS_FILTER.to_owned(), to_any(&self::cors(cors))));
    fault.into_iter().chain(cors).collect()
}

fn fault(fault: &FaultInjection) -> http_fault::HttpFault {
    http_fault::HttpFault {
        delay: fault.delay.as_ref().map(delay),
        abort: fault.abort.as_ref().map(abort),
        ..Default::default()
    }
}

fn delay(delay: &Delay) -> common_fault::FaultDelay {
    use common_fault::fault_delay::FaultDelaySecifier;
    let old = delay.percent.map(|percent| Percent { value: f64::from(percent) });
    common_fault::FaultDelay {
        percentage: Some(fraction(delay.percentage.or(old).unwrap_or(Percent { value: 0.0 }))),
        fault_delay_secifier: delay
            .fixed_delay
            .and_then(|delay| duration(delay.0))
            .map(FaultDelaySecifier::FixedDelay),
    }
}

fn abort(abort: &Abort) -> http_fault::FaultAbort {
    use http_fault::fault_abort::ErrorType;
    let grpc = abort.grpc_status.as_deref().and_then(grpc_status).map(ErrorType::GrpcStatus);
    http_fault::FaultAbort {
        percentage: Some(fraction(abort.percentage.unwrap_or(Percent { value: 0.0 }))),
        error_type: abort.http_status.map(ErrorType::HttpStatus).or(grpc),
        ..Default::default()
    }
}

/// gRPC's number of a status, by its name.
fn grpc_status(name: &str) -> Option<u32> {
    let at = crate::rules::GRPC_STATUSES.iter().position(|status| *status == name)?;
    u32::try_from(at).ok()
}

/// In millionths. What is finer is cut off.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100 percent")]
fn fraction(share: Percent) -> kinds::FractionalPercent {
    kinds::FractionalPercent {
        numerator: (share.value * 10_000.0) as u32,
        denominator: kinds::fractional_percent::DenominatorType::Million.into(),
    }
}

fn cors(policy: &CorsPolicy) -> cors::CorsPolicy {
    let old = policy
        .allow_origin
        .iter()
        .map(|origin| StringMatch { exact: Some(origin.clone()), ..Default::default() });
    let origins = policy.allow_origins.iter().cloned().chain(old);
    let forwards = match policy.unmatched_preflights {
        Some(UnmatchedPreflights::Ignore) => Some(false),
        Some(UnmatchedPreflights::Forward | UnmatchedPreflights::Unspecified) | None => Some(true),
    };
    cors::CorsPolicy {
        allow_origin_string_match: origins.filter_map(|origin| matches::string_matcher(&origin)).collect(),
        allow_methods: policy.allow_methods.join(","),
        allow_headers: policy.allow_headers.join(","),
        expose_headers: policy.expose_headers.join(","),
        max_age: policy.max_age.map(|age| age.0.as_secs().to_string()).unwrap_or_default(),
        allow_credentials: flag(policy.allow_credentials),
        forward_not_matching_preflights: flag(forwards),
        ..Default::default()
    }
}

/// So that a flag that is not set is not sent.
fn flag(value: Option<bool>) -> Option<BoolValue> {
    value.and_then(boolean)
}
