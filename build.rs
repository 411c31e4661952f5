//! Compiles the contract in `proto/` without protoc, and keeps its descriptors for reflection.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use prost_types::FileDescriptorSet;
use prost_types::field_descriptor_proto::Type;

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

/// The posting service as the server implements it: the receipts of a batch are handed over ready-made, as the bytes that a
/// message field is on the wire. What is sent is the same, but no more than one receipt need be in memory as a message.
fn ready_made(mut descriptors: FileDescriptorSet, out: &Path) -> Result<(), Box<dyn Error>> {
    const RESPONSES: [&str; 2] = ["PostBatchResponse", "PostStreamResponse"];
    const OTHERS: [&str; 4] = ["PostRequest", "PostResponse", "PostBatchRequest", "PostStreamRequest"];
    descriptors.file.retain(|file| file.name() == "stampbook/v1/ledger.proto");
    for file in &mut descriptors.file {
        file.message_type.retain(|message| RESPONSES.contains(&message.name()));
        for field in file.message_type.iter_mut().flat_map(|message| &mut message.field) {
            field.set_type(Type::Bytes);
            field.type_name = None;
        }
        // What tells of the places of messages that are left out would be taken for that of others.
        file.source_code_info = None;
    }
    let folder = out.join("ready_made");
    fs::create_dir_all(&folder)?;
    let mut config = tonic_prost_build::configure().build_client(false).out_dir(folder).bytes(".");
    for name in OTHERS {
        config = config.extern_path(format!(".stampbook.v1.{name}"), format!("crate::proto::{name}"));
    }
    config.compile_fds(descriptors)?;
    Ok(())
}
