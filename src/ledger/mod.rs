//! The pure ledger: what a command comes to, and what an event does to the state. No clock, no I/O, no async, no
//! logging, so that it can be replayed, simulated and proved. It imports nothing of ours.

pub mod codec;
pub mod command;
pub mod event;
pub mod ids;
pub mod list;
pub mod print;
pub mod reason;
pub mod spec;
pub mod view;
