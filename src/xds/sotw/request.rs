//! Requests in state of the world, whose names are decoded only when they are new.
//!
//! Each request lists all names that the client wants, and most requests only acknowledge: a client of 1,000 services
//! repeats 30 kB with each endpoint that changes. The list is compared as the bytes that came, by their hash.

use std::ops::Range;

use bytes::{Buf, Bytes};
use pilot_envoy_api::envoy::service::discovery::v3::DiscoveryRequest;
use prost::encoding::{self, DecodeContext, WireType};
use prost::{DecodeError, Message};
use xxhash_rust::xxh3::xxh3_64;

use crate::xds::variant::ReadMessage;

/// The field of a request that holds a name.
const NAME: u32 = 3;

/// A request in state of the world.
#[derive(Debug, Default)]
pub struct StateRequest {
    /// All but the names.
    pub(super) rest: DiscoveryRequest,
    /// The names.
    pub(super) names: ListedNames,
}

/// The names of a request, in the form in which they came.
#[derive(Debug, Default)]
pub(super) struct ListedNames {
    /// Fields of a request, one after the other.
    fields: Bytes,
    /// How many there are.
    pub(super) count: usize,
    /// How long they are together, in bytes.
    pub(super) bytes: usize,
    /// How long the longest is, in bytes.
    pub(super) longest: usize,
}

impl ListedNames {
    /// Equal for equal lists. Two lists may have one hash by a chance of 1 in 2^64.
    pub(super) fn hash(&self) -> u64 {
        xxh3_64(&self.fields)
    }

    /// The names, in the order of the request.
    pub(super) fn decoded(&self) -> Vec<String> {
        self.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut left = &self.fields[..];
        std::iter::from_fn(move || match next(&mut left)? {
            Field::Name(name) => Some(name),
            Field::Other => None,
        })
    }

    fn are_text(&self) -> bool {
        // As most names are, and the lengths of all that are shorter than 128 bytes.
        self.fields.is_ascii() || self.iter().all(|name| std::str::from_utf8(name).is_ok())
    }
}

impl ReadMessage for StateRequest {
    fn read(message: Bytes) -> Result<Self, DecodeError> {
        match listed(&message) {
            Some((names, at)) => {
                let others = message.slice(..at.start).chain(message.slice(at.end..));
                Ok(Self { rest: DiscoveryRequest::decode(others)?, names })
            }
            None => Ok(DiscoveryRequest::decode(message)?.into()),
        }
    }
}

impl From<DiscoveryRequest> for StateRequest {
    fn from(mut request: DiscoveryRequest) -> Self {
        let given = std::mem::take(&mut request.resource_names);
        let mut fields = Vec::new();
        encoding::string::encode_repeated(NAME, &given, &mut fields);
        let lengths = || given.iter().map(String::len);
        let (bytes, longest) = (lengths().sum(), lengths().max().unwrap_or(0));
        let names = ListedNames { fields: fields.into(), count: given.len(), bytes, longest };
        Self { rest: request, names }
    }
}

/// The names of a message, and where they are in it; `None` = it is to be decoded as a whole: it is malformed, or its
/// names are not side by side.
fn listed(message: &Bytes) -> Option<(ListedNames, Range<usize>)> {
    let (mut names, mut at, mut left) = (ListedNames::default(), 0..0, &message[..]);
    let mut start = 0;
    while let Some(field) = next(&mut left) {
        let end = message.len() - left.len();
        if let Field::Name(name) = field {
            if names.count == 0 {
                at = start..start;
            }
            if at.end != start {
                return None;
            }
            at.end = end;
            names.count += 1;
            names.bytes += name.len();
            names.longest = names.longest.max(name.len());
        }
        start = end;
    }
    names.fields = message.slice(at.clone());
    (left.is_empty() && names.are_text()).then_some((names, at))
}

/// A field of a request.
enum Field<'a> {
    Name(&'a [u8]),
    Other,
}

/// Takes the next field off; `None`, and `left` as it was, at the end or where no field is.
fn next<'a>(left: &mut &'a [u8]) -> Option<Field<'a>> {
    let mut rest = *left;
    let (tag, wire) = encoding::decode_key(&mut rest).ok()?;
    let field = if tag == NAME && wire == WireType::LengthDelimited {
        let length = encoding::decode_varint(&mut rest).ok()?;
        let name;
        (name, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        Field::Name(name)
    } else {
        encoding::skip_field(wire, tag, &mut rest, DecodeContext::default()).ok()?;
        Field::Other
    };
    *left = rest;
    Some(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(names: &[&str]) -> DiscoveryRequest {
        DiscoveryRequest {
            version_info: "v".into(),
            resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
            type_url: "t".into(),
            response_nonce: "7".into(),
            ..Default::default()
        }
    }

    fn read(bytes: Vec<u8>) -> (DiscoveryRequest, u64) {
        let read = StateRequest::read(bytes.into()).unwrap();
        let names = read.names.decoded();
        assert_eq!(read.names.count, names.len());
        assert_eq!(read.names.bytes, names.iter().map(String::len).sum::<usize>());
        assert_eq!(read.names.longest, names.iter().map(String::len).max().unwrap_or(0));
        assert!(read.rest.resource_names.is_empty());
        (DiscoveryRequest { resource_names: names, ..read.rest }, read.names.hash())
    }

    #[test]
    fn requests_are_read_as_prost_reads_them() {
        for names in [&[][..], &["a"], &["", "b", "b"], &["a", "ä", &"x".repeat(300)]] {
            let request = request(names);
            let (read, hash) = read(request.encode_to_vec());
            assert_eq!(read, request);
            assert_eq!(hash, StateRequest::from(request).names.hash());
        }
    }

    #[test]
    fn names_that_are_not_side_by_side_are_all_read() {
        let bytes = [request(&["a"]).encode_to_vec(), request(&["b", "c"]).encode_to_vec()].concat();
        let (read, hash) = read(bytes);
        assert_eq!(read.resource_names, ["a", "b", "c"]);
        assert_eq!(hash, StateRequest::from(request(&["a", "b", "c"])).names.hash());
    }

    #[test]
    fn what_is_malformed_is_refused_in_prosts_words() {
        let whole = request(&["a", "b"]).encode_to_vec();
        let not_text = vec![0x1a, 1, 0xff];
        let cut = (1..whole.len()).map(|at| whole[..at].to_vec());
        for bytes in cut.chain([not_text, vec![0xff]]) {
            let read = StateRequest::read(bytes.clone().into()).map(|read| read.names.decoded());
            let expected = DiscoveryRequest::decode(bytes.as_slice()).map(|request| request.resource_names);
            assert_eq!(read, expected, "{bytes:?}");
        }
    }
}
