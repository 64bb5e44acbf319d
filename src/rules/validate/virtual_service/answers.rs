//! What a proxy answers by itself, and what it sends in the place of a path.

use super::super::{Report, words};
use super::headers::is_host;
use crate::rules::kinds::{DirectResponse, Headers, HttpMatch, HttpRoute, Redirect, Rewrite};
use crate::rules::{node::Path, regex};

pub(super) fn redirect(redirect: &Redirect, route: &HttpRoute, path: &Path<'_>, report: &mut Report<'_>) {
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

pub(super) fn direct_response(response: &DirectResponse, path: &Path<'_>, report: &mut Report<'_>) {
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

pub(super) fn rewrite(rewrite: &Rewrite, route: &HttpRoute, path: &Path<'_>, report: &mut Report<'_>) {
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
