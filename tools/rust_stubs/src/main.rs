//! Writes the messages of the contract in Rust.
//!
//! Usage: rust-stubs DESCRIPTOR_SET FOLDER

use std::{env, error, fs};

use prost::Message;
use prost_types::FileDescriptorSet;

/// What the contract uses, without its annotations. No code is made for google.protobuf, because prost-types has it.
const PACKAGES: [&str; 4] = ["responsa.", "google.longrunning", "google.protobuf", "google.rpc"];

fn main() -> Result<(), Box<dyn error::Error>> {
    let arguments: Vec<String> = env::args().collect();
    let mut contract = FileDescriptorSet::decode(fs::read(&arguments[1])?.as_slice())?;
    contract.file.retain(|file| {
        PACKAGES
            .iter()
            .any(|package| file.package().starts_with(package))
    });
    prost_build::Config::new()
        .enable_type_names()
        .type_name_domain(["."], "type.googleapis.com")
        .include_file("lib.rs")
        .out_dir(&arguments[2])
        .compile_fds(contract)?;
    Ok(())
}
