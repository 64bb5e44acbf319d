//! What versions are made of.

use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

/// A hash of what is sent and of the clusters that it leads to. Rules may name a cluster that is not there: the bytes are
/// the same when it comes, and what is to be waited for is not.
pub(super) fn content_hash<'a>(bytes: &[u8], clusters: impl Iterator<Item = &'a Arc<str>>) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(bytes);
    for cluster in clusters {
        hash.update(&[0]);
        hash.update(cluster.as_bytes());
    }
    hash.digest()
}
