//! How a message is framed, and a resource in it.

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use tonic::Status;

/// The length of a message's header.
pub(super) const HEADER: usize = 5;

/// The field of both responses that holds the resources.
const RESOURCES: u32 = 2;

/// How many bytes a resource takes in a response.
pub(super) fn field_len(resource: &Bytes) -> usize {
    key_len(RESOURCES) + encoded_len_varint(resource.len() as u64) + resource.len()
}

/// Writes what comes before the bytes of a resource in a response.
pub(super) fn begin_field(resource: &Bytes, to: &mut BytesMut) {
    encode_key(RESOURCES, WireType::LengthDelimited, to);
    encode_varint(resource.len() as u64, to);
}

/// Writes the header of a message of that length.
pub(super) fn begin_message(length: usize, to: &mut BytesMut) {
    to.put_u8(0);
    // No message comes near 4 GiB: it is made of what one client may ask for.
    to.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

/// How long the first message is, with its header, as far as that can be told.
pub(super) fn needed(bytes: &[u8], max: usize) -> Result<usize, Status> {
    let Some(([compressed, length @ ..], _)) = bytes.split_first_chunk::<HEADER>() else {
        return Ok(HEADER);
    };
    if *compressed != 0 {
        return Err(Status::unimplemented("compressed messages are not read: expected flag 0"));
    }
    let length = u32::from_be_bytes(*length) as usize;
    if length > max {
        return Err(Status::out_of_range(format!("a message of {length} bytes: at most {max} are read")));
    }
    Ok(HEADER + length)
}
