//! Plays the cases of the conformance kit (clients/conformance) with this client.
//!
//! Usage: cargo build --example conformance && python -m clients.conformance -- build/clients/rust/debug/examples/conformance

use std::collections::VecDeque;
use std::io::{self, BufRead};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use responsa_client::chat::v1::{AskRequest, ResumeTurnRequest, TurnEvent, turn_event::Event};
use responsa_client::{Backoff, BoxError, Client, Config, Credential, Error, Kind, Notice};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    for line in io::stdin().lock().lines() {
        println!("{}", play(&serde_json::from_str(&line?)?).await?);
    }
    Ok(())
}

async fn play(order: &Value) -> Result<Value, BoxError> {
    let text = |name: &str| order[name].as_str().unwrap_or_default().to_string();
    let include_deltas = order["include_deltas"] == true;
    let tokens = order["tokens"].as_array().ok_or("no tokens")?.iter().filter_map(|token| token.as_str().map(String::from));
    let tokens = Mutex::new(tokens.collect::<VecDeque<_>>());
    let next_token = move || {
        let mut tokens = tokens.lock().unwrap();
        let newest = if tokens.len() > 1 { tokens.pop_front() } else { tokens.front().cloned() };
        async { newest.ok_or_else(|| "no token".into()) }
    };
    let base = milliseconds(&order["backoff_ms"]);
    let client = Client::new(Config {
        url: text("address"),
        credential: Credential::token(next_token),
        silence: milliseconds(&order["silence_ms"]),
        patience: milliseconds(&order["patience_ms"]),
        backoff: Backoff { base, cap: base * 1000, jitter: || 1.0, ..Backoff::default() },
        ..Config::default()
    })?;
    let mut stream = match text("start").as_str() {
        "ask" => {
            let agent = if text("agent").is_empty() { String::new() } else { format!("agents/{}", text("agent")) };
            client.ask(AskRequest { text: text("text"), agent, include_deltas, ..AskRequest::default() })
        }
        _ => {
            let after_seq = order["after_seq"].as_i64().unwrap_or_default();
            client.resume(ResumeTurnRequest { turn: text("turn"), after_seq, include_deltas })
        }
    };
    if !order["timeout_ms"].is_null() {
        stream = stream.within(milliseconds(&order["timeout_ms"]));
    }
    let notices = Arc::new(Mutex::new((Vec::new(), Vec::new())));
    let seen = notices.clone();
    stream = stream.on_notice(move |notice| match notice {
        Notice::QueuePlace(place) => seen.lock().unwrap().0.push(place),
        Notice::Reconnecting { pause, .. } => seen.lock().unwrap().1.push(pause.as_secs_f64() * 1000.0),
    });
    let (mut events, mut error) = (Vec::new(), Value::Null);
    loop {
        match stream.next().await {
            Ok(Some(event)) => {
                events.push(json!([event.seq, kind(&event)]));
                if event.seq == order["cancel_after"] {
                    stream.stop().await?;
                }
            }
            Ok(None) => break,
            Err(failure) => {
                error = described(&failure);
                break;
            }
        }
    }
    let (places, pauses) = &*notices.lock().unwrap();
    Ok(json!({
        "case": order["case"],
        "turn": stream.turn(),
        "events": events,
        "text": stream.text(),
        "sha256": ring::digest::digest(&ring::digest::SHA256, stream.text().as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        "citations": stream.citations().len(),
        "terminal": stream.terminal().map_or("", kind),
        "error": error,
        "places": places,
        "pauses_ms": pauses,
    }))
}

/// The name of the event's field in TurnEvent.
fn kind(event: &TurnEvent) -> &'static str {
    match event.event.as_ref() {
        None => "",
        Some(Event::Started(_)) => "started",
        Some(Event::Status(_)) => "status",
        Some(Event::Delta(_)) => "delta",
        Some(Event::Citation(_)) => "citation",
        Some(Event::Answer(_)) => "answer",
        Some(Event::Refused(_)) => "refused",
        Some(Event::Failed(_)) => "failed",
        Some(Event::ToolCall(_)) => "tool_call",
        Some(Event::ToolResult(_)) => "tool_result",
        Some(Event::AttemptRestarted(_)) => "attempt_restarted",
        Some(Event::Cancelled(_)) => "cancelled",
        Some(Event::Snapshot(_)) => "snapshot",
        Some(Event::Reconnect(_)) => "reconnect",
        Some(Event::Heartbeat(_)) => "heartbeat",
        Some(Event::ProviderSwitched(_)) => "provider_switched",
        Some(Event::Usage(_)) => "usage",
    }
}

/// The error as the kit reads it. The errors that the client itself makes have words of the kit.
fn described(error: &Error) -> Value {
    let reason = match error.kind {
        Kind::Broken => "broken",
        Kind::Unreachable => "unreachable",
        Kind::Cut => "cut",
        Kind::Deadline => "deadline",
        _ => &error.reason,
    };
    let fields = error.violations.iter().map(|violation| json!([violation.field, violation.reason, violation.description]));
    json!({
        "reason": reason,
        "message": error.message,
        "fields": fields.collect::<Vec<_>>(),
        "retry_after_ms": error.retry_after.map(|after| after.as_secs_f64() * 1000.0),
        "turn": error.turn,
        "after_seq": error.after_seq,
    })
}

fn milliseconds(count: &Value) -> Duration {
    Duration::from_secs_f64(count.as_f64().unwrap_or_default() / 1000.0)
}
