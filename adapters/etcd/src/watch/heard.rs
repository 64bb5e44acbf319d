//! Interprets the responses of a watch. No IO, no clock.

use etcd_client::proto::{PbEvent, PbWatchResponse};
use pilot_registry::RegistryError;

use super::News;
use crate::error;

/// What has been heard on a watch so far.
#[derive(Debug)]
pub(super) struct Heard {
    /// The latest revision.
    revision: i64,
    /// Events of a response of which there is more to come.
    partial: Vec<PbEvent>,
}

impl Heard {
    /// Nothing yet, on a watch that begins after that revision.
    pub(super) fn since(revision: i64) -> Self {
        Self { revision, partial: Vec::new() }
    }

    /// The latest revision that was heard of.
    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    /// What a response of that endpoint means; nothing, while there is more of it to come.
    ///
    /// # Errors
    /// etcd has cancelled the watch, and not for what it has forgotten.
    pub(super) fn take(
        &mut self,
        endpoint: &str,
        response: PbWatchResponse,
    ) -> Result<Option<News>, RegistryError> {
        // Such a response is cancelled, too: the reason comes first.
        if response.compact_revision != 0 {
            let at = response.compact_revision;
            let why = format!("etcd at {endpoint} has compacted its history up to revision {at}");
            return Ok(Some(News::Lost(RegistryError::unavailable(why))));
        }
        if response.canceled {
            return Err(error::cancelled(endpoint, &response.cancel_reason));
        }
        if let Some(header) = &response.header {
            self.revision = self.revision.max(header.revision);
        }
        self.partial.extend(response.events);
        Ok(match (response.fragment, self.partial.is_empty()) {
            (true, _) => None,
            (false, true) => Some(News::Nothing),
            (false, false) => Some(News::Events(std::mem::take(&mut self.partial))),
        })
    }
}

#[cfg(test)]
mod tests {
    use etcd_client::proto::PbResponseHeader;
    use pilot_registry::ErrorKind;

    use super::*;

    fn at(revision: i64, events: usize, fragment: bool) -> PbWatchResponse {
        let header = Some(PbResponseHeader { revision, ..PbResponseHeader::default() });
        let events = vec![PbEvent::default(); events];
        PbWatchResponse { header, events, fragment, ..PbWatchResponse::default() }
    }

    #[test]
    fn a_response_in_parts_counts_when_it_is_whole() {
        let mut heard = Heard::since(4);
        assert!(matches!(heard.take("e", at(5, 2, true)), Ok(None)));
        assert!(matches!(heard.take("e", at(5, 3, true)), Ok(None)));
        let news = heard.take("e", at(5, 1, false)).unwrap();
        assert!(matches!(&news, Some(News::Events(events)) if events.len() == 6), "{news:?}");
        assert!(matches!(heard.take("e", at(5, 0, false)), Ok(Some(News::Nothing))));
        assert!(matches!(heard.take("e", at(3, 0, false)), Ok(Some(News::Nothing))));
        assert_eq!(heard.revision(), 5, "the latest, whatever comes later");
    }

    #[test]
    fn history_that_is_lost_wants_a_new_list() {
        let compacted = PbWatchResponse { canceled: true, compact_revision: 7, ..at(9, 0, false) };
        let news = Heard::since(4).take("http://e", compacted).unwrap();
        let Some(News::Lost(why)) = &news else { panic!("{news:?}") };
        assert_eq!(why.chain(), "etcd at http://e has compacted its history up to revision 7");
    }

    #[test]
    fn a_watch_that_is_cancelled_fails_for_its_reason() {
        let cases = [
            ("etcdserver: permission denied", ErrorKind::Denied, "permission denied"),
            ("etcdserver: mvcc: watcher is gone", ErrorKind::Unavailable, "watcher is gone"),
            ("", ErrorKind::Unavailable, "no reason given"),
        ];
        for (reason, kind, mentions) in cases {
            let cancelled =
                PbWatchResponse { canceled: true, cancel_reason: reason.into(), ..at(9, 1, false) };
            let error = Heard::since(4).take("http://e", cancelled).unwrap_err();
            assert_eq!(error.kind(), kind, "{reason}");
            assert!(error.chain().contains(mentions) && error.chain().contains("http://e"), "{error:?}");
        }
    }
}
