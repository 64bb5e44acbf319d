//! What the log has said of proxies, so that it says each thing once and not with each stream.

use std::net::IpAddr;
use std::sync::Arc;

use crate::said::Said;
use crate::xds::rejections::Key;

/// What was said, by what it is about.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Of a node id: its Envoy is too old.
    pub(crate) unsupported: Said<Arc<str>>,
    /// Of a node id: several proxies have it.
    pub(crate) shared_id: Said<Arc<str>>,
    /// Of a node id: which cluster leads to pilot.
    pub(crate) xds_cluster: Said<Arc<str>>,
    /// Of an address: it asks for a version of xDS that is not served.
    pub(crate) version: Said<IpAddr>,
    /// Of a node id and a name: there is no such listener.
    pub(crate) missing: Said<(Arc<str>, Box<str>)>,
    /// Of a node id: it refuses that version of a resource. A key, because who keeps the rejection itself refuses it.
    pub(crate) refused: Said<(Arc<str>, Key)>,
    /// Of a node id and a type URL: there is no such type.
    pub(crate) unknown_type: Said<(Arc<str>, Box<str>)>,
}
