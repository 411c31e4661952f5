//! Compiles the contract in `proto/` without protoc, and keeps its descriptors for reflection.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use prost_types::FileDescriptorSet;

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
    ready_made(descriptors.clone(), &out)?;
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

/// The posting service as the server implements it: requests and responses are bytes, which it reads and writes itself. On the
/// wire it is the contract's.
fn ready_made(mut descriptors: FileDescriptorSet, out: &Path) -> Result<(), Box<dyn Error>> {
    const REQUESTS: [&str; 3] = ["PostRequest", "PostBatchRequest", "PostStreamRequest"];
    const RESPONSES: [&str; 3] = ["PostResponse", "PostBatchResponse", "PostStreamResponse"];
    descriptors.file.retain(|file| file.name() == "stampbook/v1/ledger.proto");
    for file in &mut descriptors.file {
        file.message_type.clear();
        // What tells of the places of messages that are left out would be taken for that of others.
        file.source_code_info = None;
    }
    let folder = out.join("ready_made");
    fs::create_dir_all(&folder)?;
    let mut config =
        tonic_prost_build::configure().build_client(false).out_dir(folder).codec_path("crate::server::wire::Codec");
    for (names, kind) in [(REQUESTS, "::bytes::Bytes"), (RESPONSES, "::std::vec::Vec<u8>")] {
        for name in names {
            config = config.extern_path(format!(".stampbook.v1.{name}"), kind);
        }
    }
    config.compile_fds(descriptors)?;
    Ok(())
}
