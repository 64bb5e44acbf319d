//! What is found for a question, before it is dressed as an answer.

use bytes::Bytes;

/// A list as the catalog has it now.
#[derive(Clone)]
pub(super) struct Now {
    pub(super) index: u64,
    pub(super) body: Bytes,
}

/// What was found, before rights are looked at.
pub(super) struct Found {
    pub(super) index: u64,
    pub(super) body: Bytes,
    pub(super) from: From,
}

/// Who has found it.
#[derive(PartialEq, Eq)]
pub(super) enum From {
    Servers,
    View,
}

impl Found {
    pub(super) fn of_the_servers(now: Now) -> Self {
        Self { index: now.index, body: now.body, from: From::Servers }
    }

    pub(super) fn in_a_view(index: u64, body: Bytes) -> Self {
        Self { index, body, from: From::View }
    }
}
