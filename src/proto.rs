//! generated contract
