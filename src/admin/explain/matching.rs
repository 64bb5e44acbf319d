//! Whether a route is for a request, as Envoy decides it, and why not.

use pilot_envoy_api::envoy::config::route::v3 as route;
use pilot_envoy_api::envoy::r#type::matcher::v3 as matcher;
use regex::{Regex, RegexBuilder};
use route::header_matcher::HeaderMatchSpecifier;
use route::query_parameter_matcher::QueryParameterMatchSpecifier;
use route::route_match::PathSpecifier;

use super::request::Request;

/// What Envoy's regular expressions may take.
const REGEX_SIZE: usize = 10 << 20;

/// Why a route is not for a request; `None` = it is. Conditions that nobody can decide beforehand are put into `open`.
pub(super) fn why_not(
    matches: &route::RouteMatch,
    request: &Request,
    open: &mut Vec<String>,
) -> Option<String> {
    let path = matches.path_specifier.as_ref().and_then(|path| wrong_path(path, matches, request));
    let header = || matches.headers.iter().find_map(|matcher| wrong_header(matcher, request));
    let parameter = || matches.query_parameters.iter().find_map(|matcher| wrong_parameter(matcher, request));
    let why = path.or_else(header).or_else(parameter);
    if why.is_none() {
        if let Some(fraction) = matches.runtime_fraction.as_ref().and_then(|it| it.default_value.as_ref()) {
            open.push(format!("for {} of requests", share(fraction)));
        }
        if matches.tls_context.is_some() || !matches.dynamic_metadata.is_empty() || matches.grpc.is_some() {
            open.push("conditions on TLS, metadata or gRPC are not looked at".to_owned());
        }
    }
    why
}

/// A fraction in words.
pub(super) fn share(fraction: &pilot_envoy_api::envoy::r#type::v3::FractionalPercent) -> String {
    use pilot_envoy_api::envoy::r#type::v3::fractional_percent::DenominatorType;
    let per = match fraction.denominator() {
        DenominatorType::Hundred => 1.0,
        DenominatorType::TenThousand => 100.0,
        DenominatorType::Million => 10_000.0,
    };
    format!("{} %", f64::from(fraction.numerator) / per)
}

fn wrong_path(path: &PathSpecifier, matches: &route::RouteMatch, request: &Request) -> Option<String> {
    let own = request.bare_path();
    let ignores_case = matches.case_sensitive.as_ref().is_some_and(|case| !case.value);
    let fold = |text: &str| if ignores_case { text.to_ascii_lowercase() } else { text.to_owned() };
    let (fits, expected) = match path {
        PathSpecifier::Prefix(prefix) => {
            (fold(own).starts_with(&fold(prefix)), format!("expected one that begins with {prefix:?}"))
        }
        PathSpecifier::Path(exact) => (fold(own) == fold(exact), format!("expected {exact:?}")),
        PathSpecifier::SafeRegex(regex) => {
            (is_all(&regex.regex, own), format!("expected one that matches {:?}", regex.regex))
        }
        PathSpecifier::PathSeparatedPrefix(prefix) => {
            let rest = fold(own).strip_prefix(&fold(prefix)).map(str::to_owned);
            let fits = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            (fits, format!("expected {prefix:?}, or what is below it"))
        }
        PathSpecifier::ConnectMatcher(_) => {
            (request.method == "CONNECT", "expected a CONNECT request".to_owned())
        }
        PathSpecifier::PathMatchPolicy(_) => (false, "expected what an extension decides".to_owned()),
    };
    let case = if ignores_case { " in upper or lower case" } else { "" };
    (!fits).then(|| format!("path {own:?}: {expected}{case}"))
}

fn wrong_header(matcher: &route::HeaderMatcher, request: &Request) -> Option<String> {
    let name = matcher.name.as_str();
    let value = request.header(name);
    let not = if matcher.invert_match { "not " } else { "" };
    let what = match value {
        Some(value) => format!("header {name} is {value:?}"),
        None => format!("header {name} is not there"),
    };
    let is_there = value.is_some() || matcher.treat_missing_header_as_empty;
    let own = value.unwrap_or_default();
    let (fits, expected) = match &matcher.header_match_specifier {
        None => (is_there, "to be there".to_owned()),
        Some(HeaderMatchSpecifier::PresentMatch(present)) => (
            is_there == *present,
            if *present { "to be there".to_owned() } else { "not to be there".to_owned() },
        ),
        // What is not there fulfils no condition on its value, not even its opposite.
        Some(_) if !is_there => return Some(format!("{what}: expected {not}{}", expected_header(matcher))),
        Some(specifier) => (fits_header(specifier, own), expected_header(matcher)),
    };
    (fits == matcher.invert_match).then(|| format!("{what}: expected {not}{expected}"))
}

fn fits_header(specifier: &HeaderMatchSpecifier, own: &str) -> bool {
    match specifier {
        HeaderMatchSpecifier::StringMatch(text) => fits_text(text, own),
        HeaderMatchSpecifier::RangeMatch(range) => {
            own.parse::<i64>().is_ok_and(|number| (range.start..range.end).contains(&number))
        }
        // Old forms, which pilot does not write.
        _ => false,
    }
}

fn expected_header(matcher: &route::HeaderMatcher) -> String {
    match &matcher.header_match_specifier {
        Some(HeaderMatchSpecifier::StringMatch(text)) => expected_text(text),
        Some(HeaderMatchSpecifier::RangeMatch(range)) => {
            format!("a number from {} to {}", range.start, range.end - 1)
        }
        Some(HeaderMatchSpecifier::PresentMatch(_)) | None => "to be there".to_owned(),
        Some(_) => "what an old form of condition says, which is not looked at".to_owned(),
    }
}

fn wrong_parameter(matcher: &route::QueryParameterMatcher, request: &Request) -> Option<String> {
    let name = matcher.name.as_str();
    let Some(value) = request.parameter(name) else {
        let is_to_be_there = !matches!(
            matcher.query_parameter_match_specifier,
            Some(QueryParameterMatchSpecifier::PresentMatch(false))
        );
        return is_to_be_there.then(|| format!("parameter {name} of the query is not there"));
    };
    let (fits, expected) = match &matcher.query_parameter_match_specifier {
        Some(QueryParameterMatchSpecifier::StringMatch(text)) => {
            (fits_text(text, value), expected_text(text))
        }
        Some(QueryParameterMatchSpecifier::PresentMatch(present)) => (*present, "none".to_owned()),
        None => (true, String::new()),
    };
    (!fits).then(|| format!("parameter {name} of the query is {value:?}: expected {expected}"))
}

fn fits_text(text: &matcher::StringMatcher, own: &str) -> bool {
    use matcher::string_matcher::MatchPattern;
    let lower = |it: &str| if text.ignore_case { it.to_ascii_lowercase() } else { it.to_owned() };
    match &text.match_pattern {
        Some(MatchPattern::Exact(exact)) => lower(own) == lower(exact),
        Some(MatchPattern::Prefix(prefix)) => lower(own).starts_with(&lower(prefix)),
        Some(MatchPattern::Suffix(suffix)) => lower(own).ends_with(&lower(suffix)),
        Some(MatchPattern::Contains(part)) => lower(own).contains(&lower(part)),
        Some(MatchPattern::SafeRegex(regex)) => is_all(&regex.regex, own),
        Some(MatchPattern::Custom(_)) => false,
        None => true,
    }
}

fn expected_text(text: &matcher::StringMatcher) -> String {
    use matcher::string_matcher::MatchPattern;
    match &text.match_pattern {
        Some(MatchPattern::Exact(exact)) => format!("{exact:?}"),
        Some(MatchPattern::Prefix(prefix)) => format!("what begins with {prefix:?}"),
        Some(MatchPattern::Suffix(suffix)) => format!("what ends with {suffix:?}"),
        Some(MatchPattern::Contains(part)) => format!("what has {part:?} in it"),
        Some(MatchPattern::SafeRegex(regex)) => format!("what matches {:?}", regex.regex),
        Some(MatchPattern::Custom(_)) => "what an extension decides".to_owned(),
        None => "anything".to_owned(),
    }
}

/// Whether a regular expression matches all of a text, as RE2's full match does.
fn is_all(regex: &str, text: &str) -> bool {
    let whole: Result<Regex, _> = RegexBuilder::new(&format!("^(?:{regex})$")).size_limit(REGEX_SIZE).build();
    whole.is_ok_and(|whole| whole.is_match(text))
}
