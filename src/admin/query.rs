//! The query of a URL: `?proxy=router~127.0.0.1~a~b&type=cds`.

use std::collections::BTreeMap;

use super::reply::Failure;

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

/// Undoes percent-encoding (RFC 3986 §2.1), and `+` for a space as forms write it.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                bytes.push(nibble(*high)? << 4 | nibble(*low)?);
                rest = tail;
            }
            (b'%', _) => return None,
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Percent-encodes everything but unreserved characters (RFC 3986 §2.3).
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
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
        for text in ["router~127.0.0.1~a~b", "a b+c&d=e%|", "ü\u{1f980}", ""] {
            assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        }
    }

    #[test]
    fn nothing_is_ignored() {
        let refused = |query: &str| Query::read(Some(query), &["name"]).unwrap_err();
        assert_eq!(refused("nmae=a").known, ["name"]);
        for query in ["name=a&name=b", "name=%", "name=%4", "name=%zz", "name=%ff"] {
            assert!(refused(query).error.starts_with("name "), "{query}");
        }
    }
}
