//! body hash
