//! Discovery resources written field by field, around bytes that are encoded already.

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len, string};

/// The fields of `envoy.service.discovery.v3.Resource`.
const VERSION: u32 = 1;
const RESOURCE: u32 = 2;
const NAME: u32 = 3;

/// Those of `google.protobuf.Any`.
const ANY_TYPE_URL: u32 = 1;
const ANY_VALUE: u32 = 2;

/// An encoded `Resource`. `write` writes the message in it, of which it is known how long it is.
pub(super) fn resource(
    name: &str,
    version: &str,
    type_url: &String,
    value_len: usize,
    write: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    let (name, version) = (name.to_owned(), version.to_owned());
    let any_len = string::encoded_len(ANY_TYPE_URL, type_url) + field_len(ANY_VALUE, value_len);
    let strings = string::encoded_len(VERSION, &version) + string::encoded_len(NAME, &name);
    let mut whole = Vec::with_capacity(strings + field_len(RESOURCE, any_len));
    string::encode(VERSION, &version, &mut whole);
    begin(RESOURCE, any_len, &mut whole);
    string::encode(ANY_TYPE_URL, type_url, &mut whole);
    begin(ANY_VALUE, value_len, &mut whole);
    write(&mut whole);
    string::encode(NAME, &name, &mut whole);
    whole
}

/// Begins a field of so many bytes.
pub(super) fn begin(field: u32, len: usize, whole: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, whole);
    encode_varint(len as u64, whole);
}

/// The bytes that a field of so many bytes takes.
pub(super) fn field_len(field: u32, len: usize) -> usize {
    key_len(field) + encoded_len_varint(len as u64) + len
}
