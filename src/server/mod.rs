//! server
pub mod body_hash;
