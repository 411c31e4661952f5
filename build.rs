//! Compiles the contract in `proto/` without protoc, and keeps its descriptors for reflection.

use std::{env, error::Error, fs, path::PathBuf};

const FILES: [&str; 5] = [
    "stampbook/v1/account.proto",
    "stampbook/v1/admin.proto",
    "stampbook/v1/audit.proto",
    "stampbook/v1/common.proto",
    "stampbook/v1/ledger.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out.join("stampbook_descriptors.bin"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure()
        // Ordered, so that hashing a command's metadata need not sort it.
        .btree_map(".stampbook.v1")
        // Rare, and together larger than all the rest of a receipt.
        .boxed(".stampbook.v1.Receipt.restored")
        .boxed(".stampbook.v1.Receipt.other")
        .boxed(".stampbook.v1.Receipt.reward")
        .compile_fds(descriptors)?;
    Ok(())
}
