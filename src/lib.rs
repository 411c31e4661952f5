//! Stampbook: a single-node loyalty points ledger. See `ARCHITECTURE.md` for the shape of the house.

pub mod audit;
pub mod config;
pub mod constants;
pub mod engine;
pub mod io;
pub mod journal;
pub mod ledger;
pub mod program;
pub mod proto;
pub mod server;
pub mod store;
pub mod verify;
