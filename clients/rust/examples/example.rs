//! Loads a document, searches it, and asks about it.
//!
//! Usage: RESPONSA_URL=http://127.0.0.1:8080 RESPONSA_API_KEY=… cargo run --example example

use std::env;

use responsa_client::chat::v1::{AskRequest, turn_event::Event};
use responsa_client::knowledge::v1::{DocumentMetadata, IngestResult, SearchRequest};
use responsa_client::{BoxError, Client, Config, Credential, DEFAULT_URL, Error};

const NOTES: &str = "# The office\n\nThe key of the bicycle shed hangs behind the green door.\n";
const QUESTION: &str = "Where does the key of the bicycle shed hang?";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let url = env::var("RESPONSA_URL").unwrap_or(DEFAULT_URL.into());
    let credential = Credential::ApiKey(env::var("RESPONSA_API_KEY").unwrap_or_default());
    let client = Client::new(Config { url, credential, ..Config::default() })?;
    run(&client).await.inspect_err(|error| eprintln!("{}", error.remedy()))?;
    Ok(())
}

async fn run(client: &Client) -> Result<(), Error> {
    let metadata = DocumentMetadata { source_key: "office.md".into(), ..DocumentMetadata::default() };
    let operation = client.upload(NOTES, metadata).await?;
    client.wait::<IngestResult>(operation).await?;
    let found = client.search(SearchRequest { terms: vec!["bicycle shed".into()], ..SearchRequest::default() }).await?;
    for hit in found.hits {
        println!("{:.2} {}", hit.score, hit.passage.unwrap_or_default().title);
    }
    let mut stream = client.ask(AskRequest { text: QUESTION.into(), include_deltas: true, ..AskRequest::default() });
    while let Some(event) = stream.next().await? {
        if let Some(Event::Delta(delta)) = event.event {
            print!("{}", delta.text);
        }
    }
    println!();
    for citation in stream.citations() {
        println!("{} {}", citation.title, citation.quote);
    }
    stream.terminal().and_then(Error::of_turn).map_or(Ok(()), Err)
}
