//! The server: gRPC on the network's side, the engine's queue on the other. Nothing here decides anything.

pub mod account_service;
pub mod admin_service;
pub mod admission;
pub mod body_hash;
pub mod convert;
pub mod desk;
pub mod ledger_service;
mod reason_text;
pub mod receipt;
mod serve;
pub mod shape;
pub mod show;
mod statement;
mod status;
mod stream;

pub use serve::{Ended, Running, ServeError, run, start};
