//! The contract, generated from `proto/stampbook/v1`. What each message and field means is said there.

#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::doc_lazy_continuation)]

tonic::include_proto!("stampbook.v1");

/// The encoded `FileDescriptorSet` of the contract and its imports, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stampbook_descriptors.bin"));

/// The `domain` of every `google.rpc.ErrorInfo` that the server sends.
pub const ERROR_DOMAIN: &str = "stampbook.v1";
