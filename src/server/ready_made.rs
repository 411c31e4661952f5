//! The posting service as the server implements it, generated from `proto/stampbook/v1/ledger.proto`: on the wire it is the
//! contract's, but its requests and responses are bytes. See `build.rs` and [`super::wire`].

#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::doc_lazy_continuation)]

include!(concat!(env!("OUT_DIR"), "/ready_made/stampbook.v1.rs"));
