//! All keys at one revision, page by page.

use etcd_client::{GetOptions, KeyValue};
use pilot_registry::RegistryError;

use crate::config::Config;
use crate::connection::Connection;
use crate::kept::{Entry, Kept};
use crate::keys::Keys;

/// Reads everything as it was at one revision, and says which.
///
/// # Errors
/// etcd fails, is too slow, or there is more than is allowed. What was read of it is of no use.
pub(crate) async fn list<K: Kept>(
    connection: &Connection,
    config: &Config,
    keys: &Keys,
    before: &K,
) -> Result<(K, i64), RegistryError> {
    let mut listed = K::new(keys);
    let mut kv = connection.kv().max_decoding_message_size(config.max_bytes);
    let mut from = keys.root().as_bytes().to_vec();
    let (mut revision, mut total) = (0, 0);
    loop {
        let options = GetOptions::new()
            .with_range(keys.end())
            .with_limit(config.page_size.into())
            .with_revision(revision);
        let page = connection.answer(K::LISTING, kv.get(from.as_slice(), Some(options)));
        let mut page = page.await?;
        if revision == 0 {
            let header =
                page.header().ok_or_else(|| malformed::<K>(connection, "a page without a header"))?;
            (revision, total) = (header.revision(), page.count());
        }
        let (more, entries) = (page.more(), page.take_kvs());
        for entry in &entries {
            let (key, value, created) = (entry.key(), entry.value(), entry.create_revision());
            listed.put(Entry { key, value, created }, Some(before));
        }
        check_size(&listed, config, keys)?;
        match entries.last().map(KeyValue::key) {
            Some(last) if more => from = [last, &[0]].concat(),
            None if more => return Err(malformed::<K>(connection, "an empty page before the last")),
            _ => break,
        }
    }
    let listed_keys = listed.size().keys;
    if usize::try_from(total) != Ok(listed_keys) {
        return Err(malformed::<K>(connection, &format!("{listed_keys} keys of which it counts {total}")));
    }
    Ok((listed, revision))
}

/// There may be only so much.
pub(crate) fn check_size(kept: &impl Kept, config: &Config, keys: &Keys) -> Result<(), RegistryError> {
    let size = kept.size();
    let refused = |key, has, most| {
        Err(RegistryError::malformed(format!("{has} {key} below {}: {most} allows no more", keys.root())))
    };
    if size.keys > config.max_keys {
        return refused("keys", size.keys, format!("max_keys = {}", config.max_keys));
    }
    if size.bytes > config.max_bytes {
        return refused("bytes", size.bytes, format!("max_bytes = {}", config.max_bytes));
    }
    Ok(())
}

fn malformed<K: Kept>(connection: &Connection, what: &str) -> RegistryError {
    RegistryError::malformed(format!("{} at {}: {what}", K::LISTING, connection.endpoint))
}
