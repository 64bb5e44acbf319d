//! Conditions of a route.

use super::super::{Report, words};
use crate::rules::envelope::dns_label;
use crate::rules::kinds::{HttpMatch, StringMatch, ValueMatch};
use crate::rules::{node::Path, regex};

pub(super) fn http_match(condition: &HttpMatch, path: &Path<'_>, report: &mut Report<'_>) {
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
        } else if plain.is_some_and(|plain| plain.contains('?'))
            || uri.regex.as_ref().is_some_and(|regex| regex.0.contains("\\?"))
        {
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

pub(super) fn string_match(text: &StringMatch, is_uri: bool, path: &Path<'_>, report: &mut Report<'_>) {
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
