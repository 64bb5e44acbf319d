//! What many streams write is encoded once, for all of them.
//!
//! ```text
//!  first stream that is sent some resources ──► copies them, a piece at a time
//!  second ──► encodes all of them ─┐
//!  third  ─────────────────────────┴─► writes slices of the same bytes, as all further ones do
//! ```
//!
//! When a mesh comes back, thousands of clients are sent the same megabytes at one time. Without this, each of them has
//! copies in its own buffers for as long as it takes to read. What only one client is sent is never there as a whole.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, Weak};

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use xxhash_rust::xxh3::Xxh3;

use super::format::begin_field;

/// Less than that is copied: it fits into few pieces.
const LEAST: usize = 64 << 10;

/// How many may be in memory at one time: clients that do not read keep what they are sent.
const MAX: usize = 16;

/// Of how many responses it is known that one stream was sent them.
const RECENT: usize = 64;

/// What streams write now.
#[derive(Clone, Default)]
pub(in crate::server) struct Bodies(Arc<Mutex<RecentBodies>>);

#[derive(Default)]
struct RecentBodies {
    /// Hashes of what was written last, the latest at the end.
    recent: VecDeque<u64>,
    bodies: Vec<Weak<SharedBody>>,
}

/// The resources of a response. Shared by all streams that write them.
pub(super) struct SharedBody {
    resources: Vec<Bytes>,
    encoded: OnceLock<Bytes>,
}

impl Bodies {
    /// These resources in one piece, if they are many bytes and another stream was sent the same lately.
    pub(super) fn share(&self, resources: &[Bytes], bytes: usize) -> Option<Arc<SharedBody>> {
        if bytes < LEAST {
            return None;
        }
        let hash = hash(resources);
        let mut known = self.0.lock();
        known.bodies.retain(|body| body.strong_count() > 0);
        let mut live = known.bodies.iter().filter_map(Weak::upgrade);
        if let Some(body) = live.find(|body| parts(&body.resources).eq(parts(resources))) {
            return Some(body);
        }
        if !known.recent.contains(&hash) {
            known.recent.push_back(hash);
            let surplus = known.recent.len().saturating_sub(RECENT);
            known.recent.drain(..surplus);
            return None;
        }
        if known.bodies.len() == MAX {
            return None;
        }
        let body = Arc::new(SharedBody { resources: resources.to_vec(), encoded: OnceLock::new() });
        known.bodies.push(Arc::downgrade(&body));
        Some(body)
    }

    /// How many are in memory.
    #[cfg(test)]
    pub(super) fn live(&self) -> usize {
        self.0.lock().bodies.iter().filter(|body| body.strong_count() > 0).count()
    }
}

impl SharedBody {
    /// The resources as fields of a response, `bytes` in all.
    pub(super) fn encoded(&self, bytes: usize) -> &Bytes {
        self.encoded.get_or_init(|| {
            let mut encoded = BytesMut::with_capacity(bytes);
            for resource in &self.resources {
                begin_field(resource, &mut encoded);
                encoded.put_slice(resource);
            }
            encoded.freeze()
        })
    }
}

/// Resources are the same if they are the same memory: they are encoded once.
fn parts(resources: &[Bytes]) -> impl Iterator<Item = (*const u8, usize)> {
    resources.iter().map(|resource| (resource.as_ptr(), resource.len()))
}

fn hash(resources: &[Bytes]) -> u64 {
    let mut hash = Xxh3::new();
    for (at, len) in parts(resources) {
        hash.update(&at.addr().to_ne_bytes());
        hash.update(&len.to_ne_bytes());
    }
    hash.digest()
}
