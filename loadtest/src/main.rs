//! Campaign traffic for a Stampbook server.
fn main() {}
