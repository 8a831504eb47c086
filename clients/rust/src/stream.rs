use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use prost::Message;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::Code;
use tonic::transport::Channel;

use crate::chat::v1::{
    AskRequest, CancelTurnRequest, Citation, GetTurnRequest, ResumeTurnRequest, ResumeTurnResponse, StartTurnRequest, Turn,
    TurnEvent, turn_event::Event,
};
use crate::client::{Client, Messages, identify, passed, within};
use crate::errors::{Error, Kind};
use crate::frames::{Reader, cut};

const INTERNAL_TRIES: u32 = 3;

/// What happens to a stream besides its events.
#[derive(Clone, Debug)]
pub enum Notice {
    /// The number of turns that come before this one in its conversation has changed.
    QueuePlace(i32),
    /// The stream ended before the turn did. The client opens another one after the pause. The cause is `None` if the server asked for it.
    Reconnecting { pause: Duration, cause: Option<Error> },
}

/// Returns each event of one turn once, in order of seq, up to the terminal event, over any number of connections.
pub struct Stream {
    client: Client,
    /// `None` for a resumed turn.
    ask: Option<AskRequest>,
    deadline: Option<Instant>,
    notify: Option<Box<dyn FnMut(Notice) + Send>>,
    reader: Reader,
    /// Events to pass on, the seq of the last one that was, and whether following has failed.
    ready: VecDeque<TurnEvent>,
    handed: i64,
    failed: bool,
    place: i32,

    /// Since the last frame that brought something.
    trouble_since: Option<Instant>,
    waits: u32,
    internal: u32,
    /// The server has asked for another connection, and nothing new has arrived since.
    sent_away: bool,
    renewed: bool,
    resume_at: Option<Instant>,

    current: Current,
}

/// One connection's stream.
#[derive(Default)]
struct Current {
    state: State,
    connection: Weak<Channel>,
    frames: u32,
    reconnect: Option<Duration>,
    /// The time from which the next frame has been awaited.
    quiet_since: Option<Instant>,
    silent: bool,
}

#[derive(Default)]
enum State {
    #[default]
    Idle,
    Opening(Pin<Box<dyn Future<Output = Result<Messages<ResumeTurnResponse>, Error>> + Send>>),
    Reading(Box<Messages<ResumeTurnResponse>>),
}

impl Client {
    /// Asks a question, and follows its turn. The first [`Stream::next`] sends the question. A dropped stream does not cancel the turn: [`Client::resume`] follows it again, and
    /// [`Stream::stop`] cancels it. With `cancel_on_disconnect`, the server cancels it ten seconds later.
    pub fn ask(&self, mut question: AskRequest) -> Stream {
        identify(&mut question.request_id);
        let reader = Reader::new(question.include_deltas, String::new(), 0);
        Stream::new(self.clone(), Some(question), reader)
    }

    /// Follows a turn after the event with the seq `after_seq`: before, while and after it runs.
    pub fn resume(&self, turn: ResumeTurnRequest) -> Stream {
        Stream::new(self.clone(), None, Reader::new(turn.include_deltas, turn.turn, turn.after_seq))
    }
}

impl Stream {
    fn new(client: Client, ask: Option<AskRequest>, reader: Reader) -> Self {
        Self {
            client,
            ask,
            deadline: None,
            notify: None,
            handed: reader.last_seq,
            reader,
            ready: VecDeque::new(),
            failed: false,
            place: 0,
            trouble_since: None,
            waits: 0,
            internal: 0,
            sent_away: false,
            renewed: false,
            resume_at: None,
            current: Current::default(),
        }
    }

    /// Sets the time from now in which the turn must end; otherwise [`Stream::next`] fails with [`Kind::Deadline`]. The turn then continues.
    pub fn within(mut self, limit: Duration) -> Self {
        self.deadline = Some(Instant::now() + limit);
        self
    }

    /// Sets what is called with each notice.
    pub fn on_notice(mut self, notify: impl FnMut(Notice) + Send + 'static) -> Self {
        self.notify = Some(Box::new(notify));
        self
    }

    /// turns/{uuid}, or "" before the first frame.
    pub fn turn(&self) -> &str {
        &self.reader.turn
    }

    /// The question's request_id. A question with the same one attaches to the same turn.
    pub fn request_id(&self) -> &str {
        self.ask.as_ref().map_or("", |ask| &ask.request_id)
    }

    /// The seq of the last event that was returned, after which another client can resume the turn.
    pub fn last_seq(&self) -> i64 {
        self.handed
    }

    /// The number of turns that come before this one in its conversation, as last reported.
    pub fn queue_place(&self) -> i32 {
        self.place
    }

    /// The event that ended the turn. It is also there if the turn was resumed after this event, when no event is returned.
    pub fn terminal(&self) -> Option<&TurnEvent> {
        self.reader.terminal.as_ref()
    }

    /// The answer's text so far: the deltas without what was withdrawn, and at the end the complete answer.
    pub fn text(&self) -> &str {
        &self.reader.text
    }

    /// The citations so far, without withdrawn ones.
    pub fn citations(&self) -> Vec<&Citation> {
        match self.terminal().and_then(|terminal| terminal.event.as_ref()) {
            Some(Event::Answer(answer)) => answer.citations.iter().collect(),
            _ => self.reader.cited.iter().map(|(_, citation)| citation).collect(),
        }
    }

    /// Cancels the turn, also before its name is known: the question then cannot start a turn any more. [`Stream::next`] goes on to the terminal event.
    pub fn stop(&self) -> impl Future<Output = Result<Turn, Error>> + Send + use<> {
        let (client, mut name, ask) = (self.client.clone(), self.reader.turn.clone(), self.ask.clone().unwrap_or_default());
        async move {
            if name.is_empty() {
                let AskRequest { conversation, text, request_id, options, agent, .. } = ask;
                name = client.start_turn(StartTurnRequest { conversation, text, request_id, options, agent }).await?.name;
            }
            client.cancel_turn(CancelTurnRequest { name }).await
        }
    }

    /// The turn's next event; `None` after the terminal event. If following fails, the error says where to resume. Dropping the future loses nothing, so it may stand in
    /// `tokio::select!`.
    pub async fn next(&mut self) -> Result<Option<TurnEvent>, Error> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.handed = event.seq;
                return Ok(Some(event));
            }
            if self.failed {
                return Ok(None);
            }
            self.handed = self.reader.last_seq;
            if self.terminal().is_some() {
                self.current = Current::default();
                return Ok(None);
            }
            let deadline = self.deadline;
            let step = within(deadline, self.step()).await;
            if let Err(failure) = step.unwrap_or_else(|| Err(self.late())) {
                (self.failed, self.current) = (true, Current::default());
                return Err(self.named(failure));
            }
        }
    }

    /// Reads one frame, or decides how to continue after the end of one connection's stream.
    async fn step(&mut self) -> Result<(), Error> {
        if let Some(at) = self.resume_at {
            sleep_until(at).await;
            self.resume_at = None;
        }
        let mut failure = match self.read().await {
            Ok(true) => return Ok(()),
            Ok(false) => None,
            Err(failure) if failure.kind == Kind::Broken => return Err(failure),
            Err(failure) => Some(failure),
        };
        self.current.state = State::Idle;
        if failure.is_none() && self.current.frames == 0 && !self.turn().is_empty() && self.reader.last_seq > 0 {
            // The turn may have ended earlier.
            failure = self.ask_whether_ended().await.err();
            if self.terminal().is_some() {
                return Ok(());
            }
        }
        let pause = self.after(failure)?;
        self.current = Current::default();
        self.resume_at = Some(Instant::now() + pause);
        Ok(())
    }

    /// Takes a frame; false if the stream has ended without an error.
    async fn read(&mut self) -> Result<bool, Error> {
        if self.current.reconnect.is_some() {
            return Ok(false);
        }
        let silence = self.client.config().silence;
        let until = *self.current.quiet_since.get_or_insert_with(Instant::now) + silence;
        let Ok(frame) = timeout_at(until, self.frame()).await else {
            self.current.silent = true;
            return Err(cut("not even a heartbeat arrived"));
        };
        self.current.quiet_since = None;
        match frame? {
            Some(frame) => self.take(frame).map(|()| true),
            None => Ok(false),
        }
    }

    async fn frame(&mut self) -> Result<Option<ResumeTurnResponse>, Error> {
        loop {
            match &mut self.current.state {
                State::Idle => self.open(),
                State::Opening(opening) => self.current.state = State::Reading(opening.await?.into()),
                State::Reading(reading) => return reading.next().await,
            }
        }
    }

    /// Begins the call. The fields of AskResponse are those of ResumeTurnResponse.
    fn open(&mut self) {
        let (client, connection) = (self.client.clone(), self.client.connection());
        let (method, message) = match &self.ask {
            Some(ask) if self.reader.turn.is_empty() => {
                self.reader.through = 0;
                ("Ask", ask.encode_to_vec())
            }
            _ => {
                self.reader.through = self.reader.last_seq;
                let (turn, after_seq) = (self.reader.turn.clone(), self.reader.last_seq);
                let request = ResumeTurnRequest { turn, after_seq, include_deltas: self.reader.deltas() };
                ("ResumeTurn", request.encode_to_vec())
            }
        };
        self.current.connection = Arc::downgrade(&connection);
        let path = format!("/responsa.chat.v1.ChatService/{method}");
        self.current.state = State::Opening(Box::pin(async move { client.open(connection, path, message.into()).await }));
    }

    fn take(&mut self, frame: ResumeTurnResponse) -> Result<(), Error> {
        let before = self.reader.last_seq;
        let taken = self.reader.take(frame)?;
        let moved = self.reader.last_seq > before;
        self.client.set_reached();
        self.current.frames += 1;
        self.current.reconnect = taken.reconnect;
        if moved {
            (self.waits, self.internal, self.sent_away, self.renewed) = (0, 0, false, false);
        }
        if taken.reconnect.is_none() {
            self.trouble_since = None;
        }
        if let Some(place) = taken.place.or(moved.then_some(0)).filter(|place| *place != self.place) {
            self.place = place;
            self.notify(Notice::QueuePlace(place));
        }
        self.ready.extend(taken.events);
        Ok(())
    }

    fn notify(&mut self, notice: Notice) {
        if let Some(notify) = &mut self.notify {
            notify(notice);
        }
    }

    /// Takes the terminal event from the turn itself, if the turn ended at the last seq that was read.
    async fn ask_whether_ended(&mut self) -> Result<(), Error> {
        let turn = self.client.get_turn(GetTurnRequest { name: self.reader.turn.clone() }).await?;
        match turn.terminal_event {
            Some(event) if turn.last_seq == self.reader.last_seq => self.reader.end(event),
            _ => Ok(()),
        }
    }

    /// The pause before the next stream, after one that ended before its turn. Fails if the turn cannot be followed any more.
    fn after(&mut self, failure: Option<Error>) -> Result<Duration, Error> {
        let (mut cause, reconnect) = (failure, self.current.reconnect);
        let (pause, fresh) = match reconnect {
            Some(wait) if !self.sent_away => {
                self.sent_away = true;
                (wait, true)
            }
            _ => {
                let failure = cause.get_or_insert_with(|| cut("it ended before the turn did"));
                if self.is_final(failure) {
                    return Err(failure.clone());
                }
                let fresh = reconnect.is_some() || self.current.silent || failure.reason == "DRAINING";
                let Some(pause) = self.wait(failure) else { return Err(self.given_up(failure.clone())) };
                (pause, fresh)
            }
        };
        if passed(self.deadline, pause) {
            // Before the turn is accepted, the server's own error says more than a passed deadline.
            let told = cause.filter(|cause| !cause.reason.is_empty() && self.turn().is_empty());
            return Err(told.unwrap_or_else(|| self.late()));
        }
        if fresh {
            self.client.retire(&self.current.connection);
        }
        self.notify(Notice::Reconnecting { pause, cause });
        Ok(pause)
    }

    fn is_final(&mut self, failure: &Error) -> bool {
        match failure.reason.as_str() {
            // An accepted turn outlives an unexpected error of the call that follows it.
            "INTERNAL" => {
                self.internal += 1;
                self.turn().is_empty() || self.internal >= INTERNAL_TRIES
            }
            "TOKEN_INVALID" if self.client.may_renew(failure) && !self.renewed => {
                self.renewed = true;
                false
            }
            // The caller did not cause these, so a proxy on the way did.
            "CANCELLED" => false,
            _ if failure.kind == Kind::Call && failure.is_late() => false,
            _ => !failure.may_pass(),
        }
    }

    /// The pause before the next stream; `None` if the patience has run out.
    fn wait(&mut self, failure: &Error) -> Option<Duration> {
        let config = self.client.config();
        let pause = config.backoff.pause(self.waits, self.current.reconnect.max(failure.retry_after));
        // Until the server has answered once, there are only as many attempts as for a single call.
        let more = self.waits < config.backoff.attempts || self.client.has_reached();
        self.waits += 1;
        let trouble = self.trouble_since.get_or_insert_with(Instant::now).elapsed();
        (more && trouble + pause <= config.patience).then_some(pause)
    }

    fn given_up(&self, last: Error) -> Error {
        match last.reason.as_str() {
            "" => {
                let why = format!("{} The turn may continue{}.", last.message, self.how_to_go_on());
                Error::new(Kind::Cut, Code::Unavailable, why)
            }
            _ => last,
        }
    }

    fn late(&self) -> Error {
        let why = format!("The turn had not ended by the deadline. It continues{}.", self.how_to_go_on());
        Error::new(Kind::Deadline, Code::DeadlineExceeded, why)
    }

    fn how_to_go_on(&self) -> String {
        match self.turn() {
            "" => format!(": ask again with request_id {}", self.request_id()),
            turn => format!(": resume {turn}"),
        }
    }

    /// The error with what a caller needs to continue later.
    fn named(&self, failure: Error) -> Error {
        Error { turn: self.turn().into(), after_seq: self.handed, request_id: self.request_id().into(), ..failure }
    }
}
