//! The server and its offline tools.
fn main() {}
