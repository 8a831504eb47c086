use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Mutex;

use crate::auth::v1::{RefreshTokenRequest, SessionTokens};
use crate::client::{Client, Credential, new_request_id};
use crate::errors::Error;

/// How long before its end an access token is refreshed.
const EARLY: Duration = Duration::from_secs(60);

/// Keeps the tokens of a person who has signed in. Clones share the tokens, and so may several clients.
#[derive(Clone)]
pub struct Session(Arc<Mutex<State>>);

struct State {
    client: Client,
    tokens: SessionTokens,
    /// Of a refresh that failed.
    request_id: String,
}

impl Session {
    /// Refreshes the tokens of `login` through a client, which needs no credential.
    pub fn new(client: Client, tokens: SessionTokens) -> Self {
        Self(Arc::new(Mutex::new(State { client, tokens, request_id: String::new() })))
    }

    /// The newest access token. A refresh that failed is repeated with the same request_id, because another refresh would end the session.
    pub async fn token(&self) -> Result<String, Error> {
        let mut state = self.0.lock().await;
        let ends = state.tokens.access_expire_time.and_then(|time| SystemTime::try_from(time).ok());
        if !state.request_id.is_empty() || ends.is_none_or(|ends| ends < SystemTime::now() + EARLY) {
            if state.request_id.is_empty() {
                state.request_id = new_request_id();
            }
            let refresh_token = state.tokens.refresh_token.clone();
            let request = RefreshTokenRequest { refresh_token, request_id: state.request_id.clone() };
            let refreshed = state.client.refresh_token(request).await?;
            (state.tokens, state.request_id) = (refreshed.tokens.unwrap_or_default(), String::new());
        }
        Ok(state.tokens.access_token.clone())
    }
}

impl From<Session> for Credential {
    fn from(session: Session) -> Self {
        Self::token(move || {
            let session = session.clone();
            async move { Ok(session.token().await?) }
        })
    }
}
