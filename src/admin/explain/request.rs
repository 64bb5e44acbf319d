//! The request that is explained.

use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Method, Uri};

use crate::admin::query::GRPC_SCHEME;

/// A request, as Envoy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) scheme: &'static str,
    /// As the Host header has it, without a dot at the end of the name.
    pub(super) authority: String,
    /// The port that the URL names.
    pub(super) port: Option<u16>,
    /// Path and query.
    pub(super) path: String,
    /// Names in lower case; a header that is there several times has its values joined by commas.
    pub(super) headers: Vec<(String, String)>,
}

impl Request {
    /// Reads a URL (`http://reviews.local:9080/a?b=c`, also without a scheme), a method, and headers, each `name: value`.
    ///
    /// # Errors
    /// What of it makes no sense, and what was expected.
    pub(super) fn read(url: &str, method: &str, headers: &[&str]) -> Result<Self, String> {
        let expected = "expected http://host:port/path, for example http://reviews.local/api";
        let (url, method) = match url.strip_prefix(GRPC_SCHEME) {
            // Calls of gRPC are POST.
            Some(target) => (target, "POST"),
            None => (url, method),
        };
        let whole = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let uri: Uri = whole.parse().map_err(|error| format!("{url:?} is no URL ({error}): {expected}"))?;
        let authority = uri.authority().filter(|it| !it.host().is_empty() && !it.as_str().contains('@'));
        let authority = authority.ok_or_else(|| format!("{url:?} names no host: {expected}"))?;
        let scheme = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => "https",
            Some(scheme) if *scheme == Scheme::HTTP => "http",
            _ => return Err(format!("{url:?} is of another scheme: {expected}")),
        };
        let method: Method =
            method.parse().map_err(|_| format!("{method:?} is no method: expected one like GET"))?;
        let mut request = Self {
            method: method.to_string(),
            scheme,
            authority: authority_of(authority),
            port: authority.port_u16(),
            path: normalized(uri.path_and_query().map_or("/", |it| it.as_str())),
            headers: Vec::new(),
        };
        for header in headers.iter().filter(|header| !header.is_empty()) {
            request.add(header)?;
        }
        Ok(request)
    }

    fn add(&mut self, header: &str) -> Result<(), String> {
        let error = || format!("{header:?} is no header: expected name: value");
        let (name, value) = header.split_once(':').ok_or_else(error)?;
        let name: HeaderName = name.trim().parse().map_err(|_| error())?;
        let value = HeaderValue::from_str(value.trim()).map_err(|_| error())?;
        let (name, value) =
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned());
        if name == "host" {
            let authority: Authority = value.parse().map_err(|_| error())?;
            self.authority = authority_of(&authority);
            return Ok(());
        }
        match self.headers.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => *values = format!("{values},{value}"),
            None => self.headers.push((name, value)),
        }
        Ok(())
    }

    /// The value of a header, or of what HTTP/2 has as one; `None` = it is not there.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        match name {
            ":method" => Some(&self.method),
            ":scheme" => Some(self.scheme),
            ":authority" | "host" => Some(&self.authority),
            ":path" => Some(&self.path),
            _ => self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()),
        }
    }

    /// The path without the query and the fragment.
    pub(super) fn bare_path(&self) -> &str {
        self.path.split(['?', '#']).next().unwrap_or_default()
    }

    /// The first value of a parameter of the query, as it is written; `None` = it is not there.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let query = self.path.split_once('?')?.1.split('#').next()?;
        let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The Host header as virtual hosts are found by it: in lower case.
    pub(super) fn host(&self) -> String {
        self.authority.to_ascii_lowercase()
    }

    /// The same without its port.
    pub(super) fn bare_host(&self) -> String {
        let mut host = self.host();
        if let Some((name, port)) = host.rsplit_once(':')
            && port.bytes().all(|c| c.is_ascii_digit())
        {
            host.truncate(name.len());
        }
        host
    }
}

/// As Envoy normalizes paths, which pilot's listeners ask it for: letters, digits and `-._~` are not encoded (RFC 3986 §6.2.2.2), a
/// backslash is a slash, and there is no `.` and `..` (§5.2.4). Slashes that follow each other stay.
fn normalized(whole: &str) -> String {
    let (path, query) = whole.split_at(whole.find('?').unwrap_or(whole.len()));
    let path = unreserved(path).replace('\\', "/");
    let mut parts: Vec<&str> = Vec::new();
    let all: Vec<&str> = path.strip_prefix('/').unwrap_or(&path).split('/').collect();
    for (at, part) in all.iter().enumerate() {
        let is_last = at + 1 == all.len();
        match *part {
            "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
        if is_last && matches!(*part, "." | "..") {
            parts.push("");
        }
    }
    format!("/{}{query}", parts.join("/"))
}

/// With what need not be encoded as it is.
fn unreserved(path: &str) -> String {
    let (mut plain, mut rest) = (String::new(), path);
    while let Some(at) = rest.find('%') {
        let (before, encoded) = rest.split_at(at);
        plain.push_str(before);
        let code = encoded.get(1..3).and_then(|digits| u8::from_str_radix(digits, 16).ok()).map(char::from);
        match code.filter(|c| c.is_ascii_alphanumeric() || "-._~".contains(*c)) {
            Some(c) => {
                plain.push(c);
                rest = &encoded[3..];
            }
            None => {
                plain.push('%');
                rest = &encoded[1..];
            }
        }
    }
    plain.push_str(rest);
    plain
}

/// Without a dot at the end of the name, which pilot's listeners take away.
fn authority_of(authority: &Authority) -> String {
    let host = authority.host().trim_end_matches('.');
    authority.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_as_envoy_sees_it() {
        let request =
            Request::read("Reviews.Local.:9080/a/b?x=1&x=2&y#z", "GET", &["X-A: 1", "x-a:2", ""]).unwrap();
        assert_eq!((request.host().as_str(), request.port), ("reviews.local:9080", Some(9080)));
        assert_eq!(request.bare_host(), "reviews.local");
        assert_eq!(request.bare_path(), "/a/b");
        assert_eq!(
            (request.parameter("x"), request.parameter("y"), request.parameter("z")),
            (Some("1"), Some(""), None)
        );
        assert_eq!(request.header("x-a"), Some("1,2"));
        assert_eq!(
            (request.header(":method"), request.header(":authority")),
            (Some("GET"), Some("Reviews.Local:9080"))
        );
        let paths = [
            ("/a/../b/./c?x=/../", "/b/c?x=/../"),
            ("/a/..", "/"),
            ("/a/b/.", "/a/b/"),
            ("/../a//b", "/a//b"),
            ("//a", "//a"),
            ("/%61%2Fb%7e", "/a%2Fb~"),
            ("/a/%2e%2E/%zz%", "/%zz%"),
            ("/a\\b", "/a/b"),
        ];
        for (path, normal) in paths {
            assert_eq!(Request::read(&format!("a.local{path}"), "GET", &[]).unwrap().path, normal, "{path}");
        }
        let named = Request::read("http://127.0.0.1:15080", "GET", &["Host: a.local"]).unwrap();
        assert_eq!((named.authority.as_str(), named.path.as_str()), ("a.local", "/"));
    }

    #[test]
    fn what_is_no_request_is_told_what_was_expected() {
        for (url, method, header, words) in [
            ("", "GET", "", "expected http://host:port/path"),
            ("ftp://a.local/", "GET", "", "another scheme"),
            ("http://u@a.local/", "GET", "", "names no host"),
            ("a.local", "G T", "", "no method"),
            ("a.local", "GET", "x", "expected name: value"),
            ("a.local", "GET", "a b: c", "expected name: value"),
        ] {
            let error = Request::read(url, method, &[header]).unwrap_err();
            assert!(error.contains(words), "{url:?} {method:?} {header:?}: {error}");
        }
    }
}
