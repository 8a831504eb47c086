use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use prost::Message;
use prost::bytes::{Buf, BufMut, Bytes};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint, Uri};
use tonic::{Code, Request, Status, Streaming};

use crate::errors::{Error, Kind, never_connected};

/// The address of a server on this machine.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8080";

const MAX_RECEIVE_BYTES: usize = 16 << 20;
/// Servers and proxies usually allow 100 per connection; another stream would wait without an error.
const STREAMS_PER_CONNECTION: usize = 90;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
type TokenFuture = Pin<Box<dyn Future<Output = Result<String, BoxError>> + Send>>;

/// What authenticates each call.
#[derive(Clone, Default)]
pub enum Credential {
    #[default]
    None,
    ApiKey(String),
    /// See [`Credential::token`].
    Token(Arc<dyn Fn() -> TokenFuture + Send + Sync>),
}

impl Credential {
    /// A function that returns the newest access token. The client calls it before each call, and once more if the server refuses a token.
    pub fn token<F>(source: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<String, BoxError>> + Send + 'static,
    {
        Self::Token(Arc::new(move || Box::pin(source())))
    }
}

/// How a client connects.
#[derive(Clone)]
pub struct Config {
    /// http://host:port, https://host:port, host:port (plain text) or unix:/path/of/socket; [`DEFAULT_URL`] by default.
    pub url: String,
    pub credential: Credential,
    /// The user, users/{uuid}, for whom a service makes its calls; "" by default.
    pub on_behalf_of: String,
    /// Limits a single call, with its repetitions; a minute by default. Streams and uploads have no limit.
    pub timeout: Duration,
    /// The time without a frame after which a stream is lost; 45 seconds by default. The server sends a heartbeat every 15 seconds.
    pub silence: Duration,
    /// The time without a frame, counted from the first failure, after which a stream gives up; five minutes by default.
    pub patience: Duration,
    pub backoff: Backoff,
    /// Which authorities vouch for a server at https; those of the operating system by default.
    pub tls: ClientTlsConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: DEFAULT_URL.into(),
            credential: Credential::None,
            on_behalf_of: String::new(),
            timeout: Duration::from_secs(60),
            silence: Duration::from_secs(45),
            patience: Duration::from_secs(300),
            backoff: Backoff::default(),
            tls: ClientTlsConfig::new().with_native_roots(),
        }
    }
}

/// Waits between attempts: the n-th wait is random between 0 and `base` · 2ⁿ⁻¹, at most `cap`, and never shorter than the server asks.
#[derive(Clone, Debug)]
pub struct Backoff {
    /// The repetitions of a single call; 12 by default, which takes longer than a restart of the server.
    pub attempts: u32,
    /// 200 ms by default.
    pub base: Duration,
    /// 5 s by default.
    pub cap: Duration,
    /// Returns numbers from 0 to 1.
    pub jitter: fn() -> f64,
}

impl Default for Backoff {
    fn default() -> Self {
        let jitter = || u64::from_le_bytes(random()) as f64 / u64::MAX as f64;
        Self { attempts: 12, base: Duration::from_millis(200), cap: Duration::from_secs(5), jitter }
    }
}

impl Backoff {
    /// The wait after `used` waits.
    pub(crate) fn pause(&self, used: u32, least: Option<Duration>) -> Duration {
        let longest = self.base.saturating_mul(1 << used.min(31)).min(self.cap);
        longest.mul_f64((self.jitter)()).max(least.unwrap_or_default())
    }
}

/// Calls one server. Its methods are those of the contract. A call that may be repeated is repeated after a lost response. Clones share their connections, which close with
/// the last clone and stream. The client connects at its first call, and belongs to the runtime of this call.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    config: Config,
    endpoint: Endpoint,
    /// Before the server has answered, a call that cannot connect is not repeated.
    reached: AtomicBool,
    connections: Mutex<Vec<Arc<Channel>>>,
}

impl Client {
    /// Fails with [`Kind::Argument`] if the address or the key is wrong.
    pub fn new(config: Config) -> Result<Self, Error> {
        if let Credential::ApiKey(key) = &config.credential
            && !key.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(Error::argument("The API key contains spaces, line breaks or characters beyond ASCII."));
        }
        let url = parse_address(&config.url)?;
        let (secure, local) = (url.starts_with("https:"), url.starts_with("unix:"));
        let mut endpoint = Endpoint::from_shared(url)
            .map_err(wrong)?
            .connect_timeout(Duration::from_secs(5))
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10));
        if secure {
            endpoint = endpoint.tls_config(config.tls.clone()).map_err(wrong)?;
        }
        if local {
            endpoint = endpoint.origin(Uri::from_static("http://localhost"));
        }
        Ok(Self(Arc::new(Inner { config, endpoint, reached: AtomicBool::new(false), connections: Mutex::default() })))
    }

    /// Makes any unary call. `path` is the method's path, such as "/responsa.auth.v1.AuthService/GetMe"; `repeatable` is whether it may be repeated after a lost response.
    pub async fn call<R: Message + Default>(&self, path: &str, repeatable: bool, request: &impl Message) -> Result<R, Error> {
        let (message, deadline) = (Bytes::from(request.encode_to_vec()), Instant::now() + self.0.config.timeout);
        decode(
            self.repeat(Some(deadline), repeatable, || self.send(path, tokio_stream::once(message.clone()), Some(deadline)))
                .await?,
        )
    }

    /// Makes any call that streams its response. `path` is the method's path.
    pub async fn call_stream<R>(&self, path: &str, request: &impl Message) -> Result<Messages<R>, Error> {
        self.open(self.connection(), path.into(), request.encode_to_vec().into()).await
    }

    pub(crate) async fn open<R>(&self, connection: Arc<Channel>, path: String, message: Bytes) -> Result<Messages<R>, Error> {
        let request = self.signed(message).await?;
        let mut grpc = self.ready(&connection).await?;
        let opened = grpc.server_streaming(request, path.parse().map_err(wrong)?, Raw).await;
        let streaming = opened.map_err(|status| self.failure(status))?.into_inner();
        Ok(Messages { client: self.clone(), _connection: connection, streaming, kind: PhantomData })
    }

    /// Tries once to send messages, and returns the response.
    pub(crate) async fn send<S>(&self, path: &str, messages: S, deadline: Option<Instant>) -> Result<Bytes, Error>
    where
        S: tokio_stream::Stream<Item = Bytes> + Send + 'static,
    {
        let connection = self.connection();
        let mut request = self.signed(messages).await?;
        if let Some(at) = deadline {
            request.set_timeout(at.saturating_duration_since(Instant::now()));
        }
        let mut grpc = self.ready(&connection).await?;
        let reply = grpc.client_streaming(request, path.parse().map_err(wrong)?, Raw).await;
        Ok(reply.map_err(|status| self.failure(status))?.into_inner())
    }

    /// Makes a call, and makes it again as long as this may help.
    pub(crate) async fn repeat<T, F>(
        &self,
        deadline: Option<Instant>,
        repeatable: bool,
        attempt: impl Fn() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let (mut used, mut renewed) = (0, false);
        loop {
            let failure = match within(deadline, attempt()).await.unwrap_or_else(|| Err(self.late())) {
                Ok(reply) => {
                    self.set_reached();
                    return Ok(reply);
                }
                // The connection's own timer may be earlier, and so may the server, which knows the deadline.
                Err(failure) if failure.reason.is_empty() && passed(deadline, Duration::ZERO) => return Err(self.late()),
                Err(failure) if deadline.is_some() && failure.is_late() => return Err(self.late()),
                Err(failure) => failure,
            };
            if self.may_renew(&failure) && !renewed {
                renewed = true;
                continue;
            }
            if !repeatable || !failure.may_pass() || used >= self.0.config.backoff.attempts {
                return Err(failure);
            }
            let wait = self.0.config.backoff.pause(used, failure.retry_after);
            if passed(deadline, wait) {
                return Err(failure);
            }
            used += 1;
            sleep(wait).await;
        }
    }

    fn late(&self) -> Error {
        let limit = self.0.config.timeout.as_secs_f64();
        Error::new(Kind::Deadline, Code::DeadlineExceeded, format!("The call had not ended after {limit} s."))
    }

    /// A request with its credential.
    async fn signed<T>(&self, message: T) -> Result<Request<T>, Error> {
        let token = match &self.0.config.credential {
            Credential::None => None,
            Credential::ApiKey(key) => Some(key.clone()),
            Credential::Token(source) => Some(source().await.map_err(|error| match error.downcast::<Error>() {
                Ok(error) => *error,
                Err(error) => Error::new(Kind::Argument, Code::Unauthenticated, format!("The access token is missing: {error}")),
            })?),
        };
        let mut request = Request::new(message);
        let mut put = |name, value: String| {
            let value: MetadataValue<Ascii> = value.parse().map_err(wrong)?;
            request.metadata_mut().insert(name, value);
            Ok::<_, Error>(())
        };
        if let Some(token) = token.filter(|token| !token.is_empty()) {
            put("authorization", format!("Bearer {token}"))?;
        }
        if !self.0.config.on_behalf_of.is_empty() {
            put("responsa-on-behalf-of", self.0.config.on_behalf_of.clone())?;
        }
        Ok(request)
    }

    async fn ready(&self, connection: &Channel) -> Result<Grpc<Channel>, Error> {
        let mut grpc = Grpc::new(connection.clone()).max_decoding_message_size(MAX_RECEIVE_BYTES);
        grpc.ready().await.map_err(|error| self.failure(Status::from_error(error.into())))?;
        Ok(grpc)
    }

    /// A connection for one more call. It is in use as long as the result exists.
    pub(crate) fn connection(&self) -> Arc<Channel> {
        let mut connections = self.0.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(free) = connections.iter().find(|one| Arc::strong_count(one) <= STREAMS_PER_CONNECTION) {
            return free.clone();
        }
        let made = Arc::new(self.0.endpoint.connect_lazy());
        connections.push(made.clone());
        made
    }

    /// Gives the connection no more calls. It closes when the last one ends.
    pub(crate) fn retire(&self, used: &Weak<Channel>) {
        self.0.connections.lock().unwrap_or_else(PoisonError::into_inner).retain(|one| Arc::as_ptr(one) != used.as_ptr());
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn has_reached(&self) -> bool {
        self.0.reached.load(Relaxed)
    }

    pub(crate) fn set_reached(&self) {
        self.0.reached.store(true, Relaxed);
    }

    pub(crate) fn may_renew(&self, failure: &Error) -> bool {
        failure.reason == "TOKEN_INVALID" && matches!(self.0.config.credential, Credential::Token(_))
    }

    /// The typed error of a failed attempt.
    fn failure(&self, status: Status) -> Error {
        let unconnected = never_connected(&status);
        let made = Error::from(status);
        let url = &self.0.config.url;
        let why = match unconnected {
            _ if !made.reason.is_empty() => {
                self.set_reached();
                return made;
            }
            _ if self.has_reached() => return made,
            Some(cause) => format!("No server answers at {url} ({cause})."),
            // The first bytes of a server that speaks HTTP/1 are no frame.
            None if made.code == Code::Unimplemented || made.message.ends_with("frame with invalid size") => {
                format!("The server at {url} is not a Responsa server.")
            }
            None => return made,
        };
        Error::new(Kind::Unreachable, made.code, why)
    }
}

/// The messages of a call that streams its response, over one connection.
pub struct Messages<R> {
    client: Client,
    _connection: Arc<Channel>,
    streaming: Streaming<Bytes>,
    kind: PhantomData<fn() -> R>,
}

impl<R: Message + Default> Messages<R> {
    /// The next message; `None` after the last one. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<R>, Error> {
        let next = self.streaming.message().await.map_err(|status| self.client.failure(status))?;
        next.map(decode).transpose()
    }
}

/// Passes messages on as bytes, so that only their own code depends on their types.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

pub(crate) fn decode<R: Message + Default>(message: Bytes) -> Result<R, Error> {
    R::decode(message).map_err(|error| Error::broken(format!("The server's response cannot be read: {error}")))
}

fn wrong(error: impl std::fmt::Display) -> Error {
    Error::argument(error.to_string())
}

/// What `work` returns, or `None` if the deadline passes first.
pub(crate) async fn within<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        None => Some(work.await),
        Some(at) => timeout_at(at, work).await.ok(),
    }
}

/// Whether the deadline will have passed after a wait.
pub(crate) fn passed(deadline: Option<Instant>, wait: Duration) -> bool {
    deadline.is_some_and(|at| Instant::now() + wait >= at)
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the operating system has random bytes");
    bytes
}

/// A random UUID.
pub(crate) fn new_request_id() -> String {
    let id = u128::from_be_bytes(random()) & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{id:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Fills in a request_id, unless the caller has one.
pub(crate) fn identify(request_id: &mut String) {
    if request_id.is_empty() {
        *request_id = new_request_id();
    }
}

/// A server's address in its full form.
pub(crate) fn parse_address(text: &str) -> Result<String, Error> {
    if text.strip_prefix("unix:").is_some_and(|path| !path.trim_matches('/').is_empty()) {
        return Ok(text.into());
    }
    let full = if text.contains("://") { text.into() } else { format!("http://{text}") };
    let uri = full.parse::<Uri>().unwrap_or_default();
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if !matches!(uri.scheme_str(), Some("http" | "https"))
        || uri.host().is_none_or(str::is_empty)
        || authority.contains('@')
        || !matches!(uri.path_and_query().map_or("/", |path| path.as_str()), "/")
    {
        return Err(Error::argument(format!(
            "{text:?} is not the address of a server; write http://host:port or https://host:port"
        )));
    }
    if uri.port().is_none() && full != text {
        return Err(Error::argument(format!("{text:?} has no port; write {text}:8080 or http://{text}")));
    }
    Ok(full)
}
