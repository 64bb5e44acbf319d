//! Which requests a route is for.

use pilot_envoy_api::envoy::config::route::v3 as route;
use pilot_envoy_api::envoy::r#type::matcher::v3 as matcher;

use crate::rules::kinds::{HttpMatch, StringMatch, ValueMatch};
use crate::translate::source::boolean;

/// All requests.
pub(super) fn everything() -> route::RouteMatch {
    with_path(route::route_match::PathSpecifier::Prefix("/".to_owned()))
}

/// Whether it is all requests.
pub(super) fn is_everything(matches: &route::RouteMatch) -> bool {
    *matches == everything()
}

fn with_path(path: route::route_match::PathSpecifier) -> route::RouteMatch {
    route::RouteMatch { path_specifier: Some(path), ..Default::default() }
}

/// Whether no request gets past a condition.
pub(super) fn takes_all(condition: &HttpMatch) -> bool {
    let is_any_path = condition.uri.as_ref().is_none_or(|uri| {
        uri.prefix.as_deref().is_some_and(|prefix| matches!(prefix, "" | "/"))
            || uri.regex.as_ref().is_some_and(|regex| regex.0 == ".*")
    });
    is_any_path
        && condition.scheme.is_none()
        && condition.method.is_none()
        && condition.authority.is_none()
        && condition.headers.is_empty()
        && condition.without_headers.is_empty()
        && condition.query_params.is_empty()
}

/// The requests that fulfil all of a condition. What it says of proxies and ports is decided already.
pub(super) fn route_match(condition: &HttpMatch) -> route::RouteMatch {
    let pseudo = [
        (":scheme", &condition.scheme),
        (":method", &condition.method),
        (":authority", &condition.authority),
    ];
    let pseudo = pseudo.into_iter().filter_map(|(name, text)| {
        let pattern = string_matcher(text.as_ref()?)?;
        Some(header(name, Some(pattern)))
    });
    let there = condition.headers.iter().map(|(name, value)| header(name, value_matcher(value)));
    let absent = condition.without_headers.iter().map(|(name, value)| {
        let pattern = value_matcher(value);
        route::HeaderMatcher {
            invert_match: true,
            // One that is not there has not the value either.
            treat_missing_header_as_empty: pattern.is_some(),
            ..header(name, pattern)
        }
    });
    let parameters = condition.query_params.iter().map(|(name, value)| parameter(name, value));
    route::RouteMatch {
        case_sensitive: if condition.ignore_uri_case { boolean(false) } else { None },
        headers: pseudo.chain(there).chain(absent).collect(),
        query_parameters: parameters.collect(),
        ..with_path(path(condition.uri.as_ref()))
    }
}

fn path(uri: Option<&StringMatch>) -> route::route_match::PathSpecifier {
    use route::route_match::PathSpecifier;
    match uri.map(|uri| (&uri.exact, &uri.prefix, &uri.regex)) {
        Some((Some(exact), _, _)) => PathSpecifier::Path(exact.clone()),
        Some((_, Some(prefix), _)) => PathSpecifier::Prefix(prefix.clone()),
        Some((_, _, Some(pattern))) => PathSpecifier::SafeRegex(regex(&pattern.0)),
        Some((None, None, None)) | None => PathSpecifier::Prefix("/".to_owned()),
    }
}

pub(super) fn regex(pattern: &str) -> matcher::RegexMatcher {
    matcher::RegexMatcher { regex: pattern.to_owned(), ..Default::default() }
}

/// `None` = anything.
pub(super) fn string_matcher(text: &StringMatch) -> Option<matcher::StringMatcher> {
    let regex = text.regex.as_ref().map(|regex| regex.0.as_str());
    matcher(text.exact.as_deref(), text.prefix.as_deref(), regex)
}

/// `None` = anything, if it is there.
fn value_matcher(value: &ValueMatch) -> Option<matcher::StringMatcher> {
    let regex = value.regex.as_ref().map(|regex| regex.0.as_str()).filter(|regex| *regex != "*");
    matcher(value.exact.as_deref(), value.prefix.as_deref(), regex)
}

fn matcher(
    exact: Option<&str>,
    prefix: Option<&str>,
    pattern: Option<&str>,
) -> Option<matcher::StringMatcher> {
    use matcher::string_matcher::MatchPattern;
    let pattern = match (exact, prefix, pattern) {
        (Some(exact), _, _) => MatchPattern::Exact(exact.to_owned()),
        (_, Some(prefix), _) => MatchPattern::Prefix(prefix.to_owned()),
        (_, _, Some(pattern)) => MatchPattern::SafeRegex(regex(pattern)),
        (None, None, None) => return None,
    };
    Some(matcher::StringMatcher { match_pattern: Some(pattern), ..Default::default() })
}

fn header(name: &str, pattern: Option<matcher::StringMatcher>) -> route::HeaderMatcher {
    use route::header_matcher::HeaderMatchSpecifier;
    let specifier = match pattern {
        Some(pattern) => HeaderMatchSpecifier::StringMatch(pattern),
        None => HeaderMatchSpecifier::PresentMatch(true),
    };
    route::HeaderMatcher {
        name: name.to_ascii_lowercase(),
        header_match_specifier: Some(specifier),
        ..Default::default()
    }
}

fn parameter(name: &str, value: &ValueMatch) -> route::QueryParameterMatcher {
    use route::query_parameter_matcher::QueryParameterMatchSpecifier;
    let specifier = match value_matcher(value) {
        Some(pattern) => QueryParameterMatchSpecifier::StringMatch(pattern),
        None => QueryParameterMatchSpecifier::PresentMatch(true),
    };
    route::QueryParameterMatcher { name: name.to_owned(), query_parameter_match_specifier: Some(specifier) }
}
