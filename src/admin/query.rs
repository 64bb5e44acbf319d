//! The query of a URL: `?proxy=router~127.0.0.1~a~b&type=cds`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::reply::Failure;

/// All but unreserved characters (RFC 3986 §2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What the targets of gRPC clients begin with that ask pilot by themselves.
pub(super) const GRPC_SCHEME: &str = "xds:///";

/// A request's parameters, each once, all of them known to the path.
#[derive(Debug)]
pub(super) struct Query<'a>(BTreeMap<&'a str, String>);

impl<'a> Query<'a> {
    /// Reads a query. Nothing that a client wrote is ignored: an unknown parameter is an error.
    pub(super) fn read(query: Option<&str>, known: &'a [&'a str]) -> Result<Self, Failure> {
        let mut parameters = BTreeMap::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(key) = known.iter().find(|known| **known == key) else {
                let error = format!("unknown parameter {key:?}");
                return Err(Failure::bad_request(error).knowing(known.iter().copied()));
            };
            let value = decode(value)
                .ok_or_else(|| Failure::bad_request(format!("{key} is not percent-encoded UTF-8")))?;
            if parameters.insert(*key, value).is_some() {
                return Err(Failure::bad_request(format!("{key} is there twice")));
            }
        }
        Ok(Self(parameters))
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }
}

/// Undoes percent-encoding, and `+` for a space as forms write it. What is no escape stays
/// (URL Standard §1.3). `None`: the result is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().ok().map(Cow::into_owned)
}

/// Percent-encodes everything but unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_what_was_encoded_comes_back() {
        let query = Query::read(Some("name=outbound%7C80%7C%7ca.local&&type="), &["name", "type"]).unwrap();
        assert_eq!(query.get("name"), Some("outbound|80||a.local"));
        assert_eq!(query.get("type"), Some(""));
        assert_eq!(query.get("proxy"), None);
        for text in ["router~127.0.0.1~a~b", "a b+c&d=e%|%zz%", "ü\u{1f980}", ""] {
            assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        }
        assert_eq!(encode("-._~ /ü"), "-._~%20%2F%C3%BC");
        assert_eq!(decode("100%+%4+%zz").as_deref(), Some("100% %4 %zz"));
    }

    #[test]
    fn nothing_is_ignored() {
        let refused = |query: &str| Query::read(Some(query), &["name"]).unwrap_err();
        assert_eq!(refused("nmae=a").known, ["name"]);
        for query in ["name=a&name=b", "name=%ff"] {
            assert!(refused(query).error.starts_with("name "), "{query}");
        }
    }
}
