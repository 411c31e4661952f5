//! engine

pub mod request;
