//! What an agent answers to a query, and whether it counts.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use pilot_registry::RegistryError;

/// An answer that counts: there is a leader behind it, or it comes from a view of the agent.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The index of what was asked. 0 only from servers that break their own rules.
    pub(crate) index: u64,
    /// Whether the server says that it left out what the token may not read. Older ones, and views, never say.
    pub(crate) filtered: bool,
    pub(crate) backend: Backend,
    /// The JSON.
    pub(crate) body: Bytes,
}

/// Who has answered, as `X-Consul-Query-Backend` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// A server, through an agent that does not say so: it is older than 1.10.1.
    Unsaid,
    /// A server, through an agent that may have views.
    Server,
    /// The agent itself, from its streamed view of one service. A view knows nothing of a leader, and nothing of
    /// what the token may not read; it may be empty, or lag behind.
    View,
}

impl Answer {
    /// Reads the headers. Without `X-Consul-KnownLeader: true` an answer says nothing: a server without a
    /// leader may answer with an empty list. A view never says that there is a leader, so its answer is taken
    /// where `may_be_a_view`.
    pub(super) fn read(
        what: &str,
        headers: &HeaderMap,
        body: Bytes,
        may_be_a_view: bool,
    ) -> Result<Self, RegistryError> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let index = header("x-consul-index").and_then(|text| text.parse().ok());
        let index = index.ok_or_else(|| {
            RegistryError::malformed(format!("{what}: the answer has no X-Consul-Index: is this consul?"))
        })?;
        let backend = match header("x-consul-query-backend") {
            None => Backend::Unsaid,
            Some("streaming") if may_be_a_view => Backend::View,
            Some(_) => Backend::Server,
        };
        if backend != Backend::View && header("x-consul-knownleader") != Some("true") {
            return Err(RegistryError::unavailable(format!(
                "{what}: consul has no leader, so its answer does not count"
            )));
        }
        let filtered = header("x-consul-results-filtered-by-acls") == Some("true");
        Ok(Self { index, filtered, backend, body })
    }
}

/// Whether a refusal of a question that a view may answer says that the agent's stream has failed. The servers may
/// be well. Agents have many words for it (`rpc error`, `stream reset requested`, `EOF`), so any fault of the
/// agent counts.
pub(super) fn is_of_a_stream(status: StatusCode, body: &[u8]) -> bool {
    status.is_server_error()
        || body.starts_with(b"rpc error: code =")
        || body.starts_with(b"context canceled")
}

/// Whether a refusal is one of a limit: the same question may be asked again later.
pub(super) fn is_of_a_limit(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
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

    const LEADER: (&str, &str) = ("x-consul-knownleader", "true");
    const NO_LEADER: (&str, &str) = ("x-consul-knownleader", "false");
    const INDEX: (&str, &str) = ("x-consul-index", "7");

    fn read(pairs: &[(&'static str, &'static str)], may_be_a_view: bool) -> Result<Answer, RegistryError> {
        Answer::read("/v1/x", &headers(pairs), Bytes::from_static(b"[]"), may_be_a_view)
    }

    #[test]
    fn an_answer_of_a_server_counts_only_with_a_leader() {
        let answer = read(&[LEADER, INDEX], false).unwrap();
        assert_eq!((answer.index, answer.backend), (7, Backend::Unsaid));
        for leader in [NO_LEADER, ("x-other", "")] {
            let error = read(&[leader, INDEX], true).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
        }
        assert_eq!(read(&[LEADER], true).unwrap_err().kind(), ErrorKind::Malformed);
    }

    #[test]
    fn a_view_counts_without_a_leader_where_a_view_may_answer() {
        let streaming = ("x-consul-query-backend", "streaming");
        assert_eq!(read(&[NO_LEADER, INDEX, streaming], true).unwrap().backend, Backend::View);
        assert!(read(&[NO_LEADER, INDEX, streaming], false).is_err());
        let server = ("x-consul-query-backend", "blocking-query");
        assert!(read(&[NO_LEADER, INDEX, server], true).is_err());
        assert_eq!(read(&[LEADER, INDEX, server], true).unwrap().backend, Backend::Server);
    }
}
