use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use prost::bytes::{Buf, Bytes, BytesMut};
use prost::{Message, Name};
use prost_types::Any;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::{Code, Status};

use crate::auth::v1::{GetMeRequest, RefreshTokenResponse, SessionTokens, User};
use crate::chat::v1::{
    AskRequest, AskResponse, CancelCause, CancelTurnRequest, StartTurnRequest, Turn, TurnCancelled, TurnEvent, TurnRefused,
    turn_event::Event,
};
use crate::client::parse_address;
use crate::google::longrunning::Operation;
use crate::google::rpc::{self, BadRequest, ErrorInfo, RetryInfo, bad_request::FieldViolation};
use crate::knowledge::v1::{
    Collection, DocumentMetadata, UpdateCollectionRequest, UploadDocumentRequest, upload_document_request::Part,
};
use crate::{Backoff, Client, Config, Credential, Error, Kind, Session};

/// A call that the server got.
#[derive(Clone)]
struct Call {
    method: String,
    authorization: String,
    messages: Vec<Bytes>,
}

impl Call {
    fn request<M: Message + Default>(&self) -> M {
        M::decode(self.messages[0].clone()).unwrap()
    }
}

/// A server whose calls fail with the next of `failures`, and succeed when none is left.
#[derive(Default)]
struct Scripted {
    failures: Mutex<VecDeque<rpc::Status>>,
    calls: Mutex<Vec<Call>>,
}

impl Scripted {
    fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    async fn serve(self: Arc<Self>, connection: TcpStream) {
        let mut connection = h2::server::handshake(connection).await.unwrap();
        while let Some(Ok((request, respond))) = connection.accept().await {
            tokio::spawn(self.clone().answer(request, respond));
        }
    }

    async fn answer(self: Arc<Self>, request: Request<h2::RecvStream>, mut respond: SendResponse<Bytes>) {
        let (head, mut body) = request.into_parts();
        let mut data = BytesMut::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk.unwrap();
            body.flow_control().release_capacity(chunk.len()).unwrap();
            data.extend_from_slice(&chunk);
        }
        let mut messages = Vec::new();
        while data.has_remaining() {
            let _compressed = data.get_u8();
            let length = data.get_u32() as usize;
            messages.push(data.split_to(length).freeze());
        }
        let method = head.uri.path().rsplit('/').next().unwrap().to_string();
        let authorization = head.headers.get("authorization").map_or("", |value| value.to_str().unwrap()).to_string();
        let reply = match method.as_str() {
            "GetMe" => User::default().encode_to_vec(),
            "RefreshToken" => {
                let later = SystemTime::now() + Duration::from_secs(3600);
                let tokens = SessionTokens {
                    access_token: "new".into(),
                    access_expire_time: Some(later.into()),
                    ..SessionTokens::default()
                };
                RefreshTokenResponse { tokens: Some(tokens) }.encode_to_vec()
            }
            "UpdateCollection" => Collection::default().encode_to_vec(),
            "StartTurn" | "CancelTurn" => Turn { name: "turns/1".into(), ..Turn::default() }.encode_to_vec(),
            "Ask" => {
                let refused = TurnEvent { seq: 1, event: Some(Event::Refused(TurnRefused::default())), ..TurnEvent::default() };
                let (turn, events) = ("turns/1".into(), vec![refused]);
                AskResponse { turn, through_seq: 1, events, ..AskResponse::default() }.encode_to_vec()
            }
            "UploadDocument" => Operation { name: "operations/1".into(), ..Operation::default() }.encode_to_vec(),
            other => panic!("{other}"),
        };
        self.calls.lock().unwrap().push(Call { method, authorization, messages });
        let failure = self.failures.lock().unwrap().pop_front();
        let mut trailers = HeaderMap::new();
        let status = failure.map_or(Status::new(Code::Ok, ""), |failure| {
            Status::with_details(Code::from(failure.code), failure.message.clone(), failure.encode_to_vec().into())
        });
        status.add_header(&mut trailers).unwrap();
        let response = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
        let mut sending = respond.send_response(response, false).unwrap();
        if status.code() == Code::Ok {
            let length = (reply.len() as u32).to_be_bytes();
            sending.send_data([&[0][..], &length, &reply].concat().into(), false).unwrap();
        }
        sending.send_trailers(trailers).unwrap();
    }
}

async fn serve(credential: Credential, failures: impl IntoIterator<Item = rpc::Status>) -> (Arc<Scripted>, Client) {
    let server = Arc::new(Scripted { failures: Mutex::new(failures.into_iter().collect()), ..Scripted::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = listener.local_addr().unwrap().to_string();
    let backoff = Backoff { attempts: 3, base: Duration::from_millis(1), ..Backoff::default() };
    let client = Client::new(Config { url, credential, backoff, ..Config::default() }).unwrap();
    let here = server.clone();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(here.clone().serve(connection));
        }
    });
    (server, client)
}

fn lost() -> rpc::Status {
    rpc::Status { code: Code::Unavailable.into(), message: "the connection was lost".into(), details: Vec::new() }
}

fn refusal(code: Code, details: Vec<Any>) -> rpc::Status {
    rpc::Status { code: code.into(), message: "It is so.".into(), details }
}

fn reason(reason: &str) -> Any {
    packed(&ErrorInfo { domain: "responsa".into(), reason: reason.into(), ..ErrorInfo::default() })
}

fn packed<M: Name>(detail: &M) -> Any {
    Any::from_msg(detail).unwrap()
}

#[tokio::test]
async fn a_call_whose_response_is_lost_is_repeated_with_the_same_request_id() {
    let (server, client) = serve(Credential::ApiKey("rsp_key".into()), [lost(), lost()]).await;
    client.start_turn(StartTurnRequest { text: "Why?".into(), ..StartTurnRequest::default() }).await.unwrap();
    let calls = server.calls();
    assert_eq!((calls.len(), calls[2].authorization.as_str()), (3, "Bearer rsp_key"));
    let id = calls[0].request::<StartTurnRequest>().request_id;
    assert!(id.len() == 36 && &id[14..15] == "4" && "89ab".contains(&id[19..20]), "{id}");
    assert_eq!(calls[0].messages, calls[2].messages);
}

#[tokio::test]
async fn a_call_with_a_second_effect_is_not_repeated() {
    for (etag, wanted) in [("", 3), ("1", 1)] {
        let (server, client) = serve(Credential::None, [lost(), lost()]).await;
        let collection = Some(Collection { etag: etag.into(), ..Collection::default() });
        let done = client.update_collection(UpdateCollectionRequest { collection, ..UpdateCollectionRequest::default() }).await;
        assert_eq!((server.calls().len(), done.is_ok()), (wanted, wanted == 3));
    }
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let refused = refusal(Code::Unauthenticated, vec![reason("TOKEN_INVALID")]);
    let tokens = Arc::new(Mutex::new(VecDeque::from(["first", "second", "third"])));
    let credential = Credential::token(move || {
        let token = tokens.lock().unwrap().pop_front();
        async move { Ok(token.ok_or("no token")?.into()) }
    });
    let (server, client) = serve(credential, [refused.clone(), refused]).await;
    let error = client.get_me(GetMeRequest::default()).await.unwrap_err();
    let sent: Vec<_> = server.calls().into_iter().map(|call| call.authorization).collect();
    assert_eq!((error.reason.as_str(), sent), ("TOKEN_INVALID", vec!["Bearer first".into(), "Bearer second".into()]));
}

#[tokio::test]
async fn a_refresh_that_failed_is_repeated_with_the_same_request_id() {
    // All attempts of the first call fail.
    let (server, client) = serve(Credential::None, [lost(), lost(), lost(), lost()]).await;
    let session = Session::new(client, SessionTokens { refresh_token: "rst_1".into(), ..SessionTokens::default() });
    session.token().await.unwrap_err();
    for _ in 0..2 {
        assert_eq!(session.token().await.unwrap(), "new"); // the second token is still good
    }
    let calls = server.calls();
    assert_eq!((calls.len(), &calls[0].messages), (5, &calls[4].messages));
}

#[tokio::test]
async fn an_error_names_its_reason_fields_and_remedy() {
    let violation = FieldViolation {
        field: "text".into(),
        reason: "string.min_bytes".into(),
        description: "must not be empty".into(),
        ..FieldViolation::default()
    };
    let details = vec![reason("INVALID_FIELD"), packed(&BadRequest { field_violations: vec![violation] })];
    let (_, client) = serve(Credential::None, [refusal(Code::InvalidArgument, details)]).await;
    let error = client.start_turn(StartTurnRequest::default()).await.unwrap_err();
    assert_eq!(
        (error.reason.as_str(), error.code, error.remedy().as_str()),
        ("INVALID_FIELD", Code::InvalidArgument, "text: must not be empty")
    );
    let retry_delay = Duration::from_millis(1500).try_into().ok();
    let limited = refusal(Code::ResourceExhausted, vec![packed(&RetryInfo { retry_delay })]);
    assert_eq!(Error::from(limited).remedy(), "Try again in 2 s.");
}

#[tokio::test]
async fn a_deadline_is_the_callers_also_if_the_server_sees_it_first() {
    let late = refusal(Code::DeadlineExceeded, vec![reason("DEADLINE_EXCEEDED")]);
    let (server, client) = serve(Credential::ApiKey(String::new()), [late]).await;
    let error = client.start_turn(StartTurnRequest::default()).await.unwrap_err();
    let calls = server.calls();
    assert_eq!((error.kind, error.request_id), (Kind::Deadline, calls[0].request::<StartTurnRequest>().request_id));
    assert_eq!(calls[0].authorization, ""); // an empty key is none
}

#[test]
fn the_error_of_a_cancelled_turn_names_who_cancelled_it() {
    let cancelled = TurnCancelled { by: CancelCause::Owner.into(), ..TurnCancelled::default() };
    let terminal = TurnEvent { event: Some(Event::Cancelled(cancelled)), ..TurnEvent::default() };
    assert_eq!(Error::of_turn(&terminal).unwrap().message, "The turn was cancelled by its owner.");
}

#[tokio::test]
async fn an_upload_is_sent_again_whole() {
    let (server, client) = serve(Credential::None, [lost()]).await;
    let content = b"0123456789".repeat(100_000);
    let metadata = DocumentMetadata { source_key: "numbers.txt".into(), ..DocumentMetadata::default() };
    client.upload(content.clone(), metadata).await.unwrap();
    let calls = server.calls();
    assert!(calls.len() == 2 && calls[0].messages == calls[1].messages);
    let parts = calls[1].messages.iter().map(|message| UploadDocumentRequest::decode(message.clone()).unwrap().part);
    let chunks = parts.filter_map(|part| if let Some(Part::Chunk(chunk)) = part { Some(chunk) } else { None });
    assert!(chunks.collect::<Vec<_>>().concat() == content);
}

#[tokio::test]
async fn a_question_that_is_not_accepted_yet_can_be_stopped() {
    let (server, client) = serve(Credential::None, []).await;
    let stream = client.ask(AskRequest { text: "Why?".into(), ..AskRequest::default() });
    stream.stop().await.unwrap();
    let calls = server.calls();
    assert_eq!(calls[0].request::<StartTurnRequest>().request_id, stream.request_id());
    assert_eq!((calls[1].method.as_str(), calls[1].request::<CancelTurnRequest>().name.as_str()), ("CancelTurn", "turns/1"));
}

#[tokio::test]
async fn next_may_be_dropped() {
    let (server, client) = serve(Credential::None, []).await;
    let mut stream = client.ask(AskRequest { text: "Why?".into(), ..AskRequest::default() });
    let event = loop {
        tokio::select! {
            biased;
            event = stream.next() => break event.unwrap(),
            () = tokio::task::yield_now() => {}
        }
    };
    assert_eq!(event.as_ref(), stream.terminal());
    assert_eq!((event.unwrap().seq, stream.next().await.unwrap(), server.calls().len()), (1, None, 1));
}

#[tokio::test]
async fn a_server_that_speaks_no_grpc_is_named_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        while connection.read(&mut [0; 1024]).await.is_ok_and(|count| count > 0) {}
    });
    let client = Client::new(Config { url, ..Config::default() }).unwrap();
    let error = client.get_me(GetMeRequest::default()).await.unwrap_err();
    assert!(error.kind == Kind::Unreachable && error.message.ends_with("is not a Responsa server."), "{error}");
    assert!(error.remedy().starts_with("Check the address"));
}

#[test]
fn addresses() {
    for (text, wanted) in [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://answers.example.org", "https://answers.example.org"),
        ("[::1]:9000", "http://[::1]:9000"),
        ("unix:/run/responsa.sock", "unix:/run/responsa.sock"),
        ("localhost", ""),
        ("ftp://localhost:1", ""),
        ("http://localhost/path", ""),
        ("http://user@localhost:1", ""),
    ] {
        match parse_address(text) {
            Ok(found) => assert_eq!(found, wanted, "{text}"),
            Err(error) => assert_eq!((error.kind, wanted), (Kind::Argument, ""), "{text}"),
        }
    }
}
