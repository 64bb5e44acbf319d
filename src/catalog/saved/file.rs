//! The bytes of a file that holds the last known good of one registry.
//!
//! ```text
//! pilot-snapshot 1 c0ffee0123456789          format, version, XXH3 of all that follows this line
//! {"registry":"east","kind":"consul",...}    whose it is, when it was saved, how much follows
//! {"host":"a.local",...}                     a service on each line, ordered by id
//! ```
//!
//! A file with any wrong part is refused as a whole: half a registry is worse than an older one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pilot_registry::{Service, Snapshot};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::rfc3339;

const FORMAT: &str = "pilot-snapshot";
/// Changes whenever a file of the one would be misread by a pilot of the other.
const VERSION: u32 = 2;
/// What every pilot reads. It does not know that some clients may not see a service.
const VERSION_OF_ALL: u32 = 1;

/// Why a file is not believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("it is no file of pilot's")]
    Foreign,
    #[error("it is of version {0}, and this pilot reads {VERSION}")]
    Version(u32),
    #[error("it is damaged: its checksum does not fit")]
    Checksum,
    #[error("it holds the registry {registry:?} of kind {kind:?}")]
    Other { registry: String, kind: String },
    #[error("it is damaged: {0}")]
    Content(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    registry: String,
    kind: String,
    /// For people.
    saved_at: String,
    saved_at_ms: u64,
    services: usize,
}

/// The bytes for a snapshot of that registry.
pub(super) fn encode(registry: &str, kind: &str, saved_at: SystemTime, snapshot: &Snapshot) -> Vec<u8> {
    let since = saved_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let header = Header {
        registry: registry.to_owned(),
        kind: kind.to_owned(),
        saved_at: rfc3339::format(saved_at),
        saved_at_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        services: snapshot.services().len(),
    };
    let mut body = Vec::new();
    write_line(&mut body, &header);
    snapshot.services().iter().for_each(|service| write_line(&mut body, &**service));
    let for_all = snapshot.services().iter().all(|service| service.visibility.is_everybody());
    let version = if for_all { VERSION_OF_ALL } else { VERSION };
    let mut bytes = format!("{FORMAT} {version} {:016x}\n", xxh3_64(&body)).into_bytes();
    bytes.append(&mut body);
    bytes
}

fn write_line(bytes: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(&mut *bytes, value).expect("the model has string keys, and memory takes all");
    bytes.push(b'\n');
}

/// The snapshot of that registry, and when it was saved.
pub(super) fn decode(registry: &str, kind: &str, bytes: &[u8]) -> Result<(Snapshot, SystemTime), Refused> {
    let content = |why: &dyn std::fmt::Display| Refused::Content(why.to_string());
    let body = checked(bytes)?;
    let mut lines = body.split_inclusive(|byte| *byte == b'\n');
    let header = lines.next().ok_or_else(|| content(&"it has no header"))?;
    let header: Header = serde_json::from_slice(header).map_err(|error| content(&error))?;
    if header.registry != registry || header.kind != kind {
        return Err(Refused::Other { registry: header.registry, kind: header.kind });
    }
    let services = lines.map(|line| serde_json::from_slice::<Service>(line).map(std::sync::Arc::new));
    let services = services.collect::<Result<Vec<_>, _>>().map_err(|error| content(&error))?;
    if services.len() != header.services {
        let why = format!("it has {} services, of {}", services.len(), header.services);
        return Err(Refused::Content(why));
    }
    let saved_at = UNIX_EPOCH.checked_add(Duration::from_millis(header.saved_at_ms));
    let saved_at = saved_at.ok_or_else(|| content(&"it is of no time"))?;
    Ok((Snapshot::new(services).map_err(|error| content(&error))?, saved_at))
}

/// What follows the first line, if that is what the first line says.
fn checked(bytes: &[u8]) -> Result<&[u8], Refused> {
    let end = bytes.iter().take(128).position(|byte| *byte == b'\n').ok_or(Refused::Foreign)?;
    let (line, body) = (&bytes[..end], &bytes[end + 1..]);
    let line = std::str::from_utf8(line).map_err(|_| Refused::Foreign)?;
    let mut words = line.split(' ');
    if words.next() != Some(FORMAT) {
        return Err(Refused::Foreign);
    }
    let version: u32 = words.next().and_then(|word| word.parse().ok()).ok_or(Refused::Foreign)?;
    if version != VERSION && version != VERSION_OF_ALL {
        return Err(Refused::Version(version));
    }
    let sum = words.next().filter(|word| word.len() == 16);
    match sum.and_then(|word| u64::from_str_radix(word, 16).ok()) {
        Some(sum) if sum == xxh3_64(body) && words.next().is_none() => Ok(body),
        _ => Err(Refused::Checksum),
    }
}
