//! What an agent answers to a query, and whether it counts.

use bytes::Bytes;
use http::HeaderMap;
use pilot_registry::RegistryError;

/// An answer that counts: there is a leader behind it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The index of what was asked. 0 only from servers that break their own rules.
    pub(crate) index: u64,
    /// Whether the server says that it left out what the token may not read. Older ones never say.
    pub(crate) filtered: bool,
    /// The JSON.
    pub(crate) body: Bytes,
}

impl Answer {
    /// Reads the headers. Without `X-Consul-KnownLeader: true` an answer says nothing: a server without a
    /// leader may answer with an empty list.
    pub(super) fn read(what: &str, headers: &HeaderMap, body: Bytes) -> Result<Self, RegistryError> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let index = header("x-consul-index").and_then(|text| text.parse().ok());
        let index = index.ok_or_else(|| {
            RegistryError::malformed(format!("{what}: the answer has no X-Consul-Index: is this consul?"))
        })?;
        if header("x-consul-knownleader") != Some("true") {
            return Err(RegistryError::unavailable(format!(
                "{what}: consul has no leader, so its answer does not count"
            )));
        }
        let filtered = header("x-consul-results-filtered-by-acls") == Some("true");
        Ok(Self { index, filtered, body })
    }
}

/// The beginning of what a refusal says, escaped.
pub(super) fn excerpt(text: &str) -> String {
    let text: String = text.chars().take(200).collect();
    match text.trim() {
        "" => String::new(),
        text => format!(": {}", text.escape_debug()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pilot_registry::ErrorKind;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn an_answer_counts_only_with_a_leader() {
        let read = |pairs: &[_]| Answer::read("/v1/x", &headers(pairs), Bytes::from_static(b"[]"));
        let known = ("x-consul-knownleader", "true");
        assert_eq!(read(&[known, ("x-consul-index", "7")]).unwrap().index, 7);
        for leader in [("x-consul-knownleader", "false"), ("x-other", "")] {
            let error = read(&[leader, ("x-consul-index", "7")]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
        }
        assert_eq!(read(&[known]).unwrap_err().kind(), ErrorKind::Malformed);
    }
}
