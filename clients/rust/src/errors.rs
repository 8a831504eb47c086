use std::{collections::HashMap, error, fmt, time::Duration};

use prost::{Message, Name};
use prost_types::Any;
use tonic::{Code, Status};

use crate::chat::v1::{CancelCause, TurnEvent, turn_event::Event};
use crate::google::rpc::{self, BadRequest, ErrorInfo, RetryInfo, bad_request::FieldViolation};

/// A limit that lasts longer is not waited for; the caller gets the error.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// Who made an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The server, or something on the way to it.
    Call,
    /// The client: no Responsa server answers at the address.
    Unreachable,
    /// The client: a turn's stream was interrupted, and resuming did not reach the turn's end in time. The turn may continue.
    Cut,
    /// The client: the server's data contradicts itself, such as an answer that does not match its SHA-256. Do not trust any of it.
    Broken,
    /// The client: the caller's deadline has passed.
    Deadline,
    /// The client: an argument or the configuration is wrong.
    Argument,
}

/// The error of every call.
#[derive(Clone, Debug)]
pub struct Error {
    pub kind: Kind,
    pub code: Code,
    /// A name of `responsa.errors.v1.Reason` without its prefix; "" if the error comes from a proxy, the network or this client.
    pub reason: String,
    /// A text for people.
    pub message: String,
    /// What the contract documents for the reason.
    pub metadata: HashMap<String, String>,
    /// The mistakes in the request's fields: each with the field's path, the rule's id as `reason`, and the remedy.
    pub violations: Vec<FieldViolation>,
    /// The time after which to try again; `None` if the server does not say.
    pub retry_after: Option<Duration>,
    /// If the error ends a turn's stream: the turn's name, with which `resume` continues; "" if it is unknown.
    pub turn: String,
    /// The seq of the last event that was passed on, after which `resume` continues.
    pub after_seq: i64,
    /// The request's request_id, also one that the client chose; "" without one. The same request with it has no second effect: a question attaches to the same turn from its
    /// start.
    pub request_id: String,
}

impl Error {
    pub(crate) fn new(kind: Kind, code: Code, message: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            reason: String::new(),
            message: message.into(),
            metadata: HashMap::new(),
            violations: Vec::new(),
            retry_after: None,
            turn: String::new(),
            after_seq: 0,
            request_id: String::new(),
        }
    }

    pub(crate) fn broken(message: impl Into<String>) -> Self {
        Self::new(Kind::Broken, Code::DataLoss, message)
    }

    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self::new(Kind::Argument, Code::InvalidArgument, message)
    }

    /// The error in a turn's terminal event, if the turn failed or was cancelled. A refusal is not an error.
    pub fn of_turn(terminal: &TurnEvent) -> Option<Self> {
        match terminal.event.as_ref()? {
            Event::Failed(failed) => Some(failed.status.clone().unwrap_or_default().into()),
            Event::Cancelled(cancelled) => {
                let by = match cancelled.by() {
                    CancelCause::Owner => " by its owner",
                    CancelCause::Administrator => " by an administrator",
                    CancelCause::Interrupt => ": a newer question replaced it",
                    CancelCause::Disconnect => ": nobody followed it",
                    CancelCause::Unspecified => "",
                };
                Some(Self::new(Kind::Call, Code::Cancelled, format!("The turn was cancelled{by}.")))
            }
            _ => None,
        }
    }

    /// What to do, in a sentence.
    pub fn remedy(&self) -> String {
        if !self.violations.is_empty() {
            let found = self.violations.iter().map(|violation| format!("{}: {}", violation.field, violation.description));
            return found.collect::<Vec<_>>().join("; ");
        }
        if let Some(after) = self.retry_after {
            return format!("Try again in {:.0} s.", after.as_secs_f64().ceil());
        }
        let remedy = match self.code {
            _ if self.kind == Kind::Unreachable => "Check the address, and that a Responsa server runs there.",
            Code::InvalidArgument | Code::OutOfRange => "Correct the request; repeating it does not help.",
            Code::Unauthenticated => "Use a valid API key, or sign in with the right e-mail address and password.",
            Code::PermissionDenied => "Call with the credential of a user who has this right.",
            Code::NotFound => "Check the name. What belongs to another user is not found either.",
            Code::AlreadyExists => "Choose another name or request_id.",
            Code::Aborted => "Read the resource again or wait until it is free, then repeat the call.",
            Code::FailedPrecondition => "Change what the message names, then repeat the call.",
            Code::ResourceExhausted => "Send less or make room, then repeat the call.",
            Code::Unavailable => "Repeat the call.",
            Code::DeadlineExceeded => {
                "Allow more time. An accepted turn continues: resume it, or ask again with the error's request_id."
            }
            Code::Cancelled => "Repeat what was cancelled if you still want its result.",
            _ => "Report the error.",
        };
        remedy.into()
    }

    /// The error of a call with this request_id.
    pub(crate) fn asked(self, request_id: String) -> Self {
        Self { request_id, ..self }
    }

    /// Whether the deadline of a call has passed: the caller's, or that of a proxy on the way.
    pub(crate) fn is_late(&self) -> bool {
        self.reason == "DEADLINE_EXCEEDED" || self.reason.is_empty() && self.code == Code::DeadlineExceeded
    }

    pub(crate) fn may_pass(&self) -> bool {
        match self.reason.as_str() {
            // If a server behind a proxy is killed, the client sees one of these codes, but rarely UNAVAILABLE.
            "" => {
                self.kind == Kind::Call
                    && matches!(self.code, Code::Unavailable | Code::Internal | Code::Unknown | Code::Aborted | Code::Cancelled)
            }
            "RATE_LIMIT" | "LIMIT_REACHED" => self.retry_after.is_some_and(|after| after <= LONGEST_WAIT),
            reason => matches!(reason, "DRAINING" | "PART_UNAVAILABLE" | "OVERLOADED"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason.as_str() {
            "" => write!(to, "{:?}: {}", self.code, self.message),
            reason => write!(to, "{reason}: {}", self.message),
        }
    }
}

impl error::Error for Error {}

/// The error of a `failed` event, an operation or a document. Details that the client does not know are ignored.
impl From<rpc::Status> for Error {
    fn from(from: rpc::Status) -> Self {
        let code = Code::from(from.code);
        let mut made = Self::new(Kind::Call, code, from.message);
        if made.message.is_empty() {
            made.message = code.description().into();
        }
        for detail in &from.details {
            if let Some(info) = unpack::<ErrorInfo>(detail).filter(|info| info.domain == "responsa") {
                (made.reason, made.metadata) = (info.reason, info.metadata);
            } else if let Some(retry) = unpack::<RetryInfo>(detail) {
                made.retry_after = retry.retry_delay.and_then(|delay| delay.try_into().ok());
            } else if let Some(bad) = unpack::<BadRequest>(detail) {
                made.violations = bad.field_violations;
            }
        }
        made
    }
}

impl From<Status> for Error {
    fn from(from: Status) -> Self {
        let cause = causes(&from).last().map(|cause| format!(": {cause}")).unwrap_or_default();
        let details = rpc::Status::decode(from.details()).unwrap_or_default().details;
        rpc::Status { code: from.code().into(), message: format!("{}{cause}", from.message()), details }.into()
    }
}

fn unpack<M: Name + Default>(detail: &Any) -> Option<M> {
    detail.to_msg().ok()
}

/// The causes of a status that the client's side has made, the deepest one last.
fn causes(status: &Status) -> impl Iterator<Item = &(dyn error::Error + 'static)> {
    std::iter::successors(error::Error::source(status), |cause| cause.source())
}

/// If no connection could be opened: the last of the causes, such as "Connection refused".
pub(crate) fn never_connected(status: &Status) -> Option<String> {
    causes(status).any(|cause| cause.is::<tonic::ConnectError>()).then(|| causes(status).last().map(ToString::to_string))?
}
