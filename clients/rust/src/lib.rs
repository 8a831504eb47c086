//! Asks a Responsa server questions and follows their answers: over lost connections and restarts of the server, and from any other process.
//!
//! Requests and responses are the contract's messages, in the modules [`chat`], [`knowledge`], [`auth`] and [`admin`].

// An error is made once a call, so its size costs nothing.
#![allow(clippy::large_enum_variant, clippy::result_large_err)]

mod client;
mod errors;
mod frames;
mod methods;
mod session;
mod stream;
#[cfg(test)]
mod tests;
mod upload;

pub use client::{Backoff, BoxError, Client, Config, Credential, DEFAULT_URL, Messages};
pub use errors::{Error, Kind};
pub use frames::check_answer;
pub use responsa_contract::{
    google,
    responsa::{admin, auth, chat, errors as reasons, knowledge, r#type},
};
pub use session::Session;
pub use stream::{Notice, Stream};
pub use tonic::{
    Code,
    transport::{Certificate, ClientTlsConfig},
};
