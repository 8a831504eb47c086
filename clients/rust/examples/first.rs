use std::env;

use responsa_client::{Client, Config, Credential, DEFAULT_URL, chat::v1::AskRequest};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = env::var("RESPONSA_URL").unwrap_or(DEFAULT_URL.into());
    let credential = Credential::ApiKey(env::var("RESPONSA_API_KEY").unwrap_or_default());
    let client = Client::new(Config { url, credential, ..Config::default() })?;
    let mut stream = client.ask(AskRequest { text: "How do I load a folder?".into(), ..AskRequest::default() });
    while let Some(event) = stream.next().await? {
        eprintln!("{}", event.seq);
    }
    println!("{} {:?}", stream.text(), stream.citations());
    Ok(())
}
