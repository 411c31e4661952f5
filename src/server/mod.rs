//! The server: gRPC on the network's side, the engine's queue on the other. Nothing here decides anything.

mod account_service;
mod act;
mod action;
mod admin_service;
mod admission;
mod audit_service;
pub mod body_hash;
pub mod convert;
mod desk;
mod fair;
pub mod item;
pub mod items;
mod ledger_service;
mod parcel;
mod past;
mod ready_made;
pub mod receipt;
mod rolls;
mod rooms;
pub mod rules;
mod send;
mod serve;
pub mod shape;
pub mod show;
mod statement;
mod status;
mod stream;
mod turns;
mod walks;
mod wire;

pub use serve::{Ended, Running, ServeError, run, start, start_on};
