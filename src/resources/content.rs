//! What versions are made of.

use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::origin::Origin;

/// A hash of what is sent and of the clusters that it leads to. Rules may name a cluster that is not there: the bytes are
/// the same when it comes, and what is to be waited for is not. And of the document that asked for it: where another one takes its
/// place and says the same, what a client accepts and refuses from then on is that one's.
pub(super) fn content_hash<'a>(
    bytes: &[u8],
    clusters: impl Iterator<Item = &'a Arc<str>>,
    origin: &Origin,
) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(bytes);
    for cluster in clusters {
        hash.update(&[0]);
        hash.update(cluster.as_bytes());
    }
    if let Some(document) = origin.document() {
        hash.update(&[1]);
        hash.update(document.as_bytes());
    }
    hash.digest()
}
