//! Headers that a route sets, adds and removes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use ::regex::Regex;

use super::super::commands::COMMANDS;
use super::super::{Report, words};
use crate::rules::kinds::{HeaderOperations, Headers};
use crate::rules::node::Path;

pub(super) fn headers(headers: &Headers, path: &Path<'_>, report: &mut Report<'_>) {
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

pub(super) fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority")
}
