use std::time::Duration;

use ring::digest::{SHA256, digest};

use crate::chat::v1::{
    Citation, QuoteOrigin, ResumeTurnResponse, TurnAnswer, TurnAttemptRestarted, TurnEvent, TurnSnapshot, turn_event::Event,
};
use crate::errors::{Error, Kind};

/// What a frame brought: events to pass on, the place in the queue, and the wait before another connection.
#[derive(Default)]
pub(crate) struct Taken {
    pub events: Vec<TurnEvent>,
    pub place: Option<i32>,
    pub reconnect: Option<Duration>,
}

/// Takes the frames of one turn over any number of streams, and returns each event once. clients/conformance/cases.yaml has its rules as cases.
pub(crate) struct Reader {
    deltas: bool,
    pub turn: String,
    pub last_seq: i64,
    pub through: i64,
    pub terminal: Option<TurnEvent>,
    pub text: String,
    /// Each with the seq of its event.
    pub cited: Vec<(i64, Citation)>,
    attempt: i32,
    /// The byte of the answer at which `text` begins; `None` while it is unknown, because another reader read the beginning.
    start: Option<i64>,
}

impl Reader {
    pub fn new(deltas: bool, turn: String, after_seq: i64) -> Self {
        Self {
            deltas,
            turn,
            last_seq: after_seq,
            through: after_seq,
            terminal: None,
            text: String::new(),
            cited: Vec::new(),
            attempt: 0,
            start: (after_seq == 0).then_some(0),
        }
    }

    pub fn deltas(&self) -> bool {
        self.deltas
    }

    pub fn take(&mut self, frame: ResumeTurnResponse) -> Result<Taken, Error> {
        if !self.turn.is_empty() && frame.turn != self.turn {
            return Err(Error::broken(format!("The stream of {} contained a frame of {}.", self.turn, frame.turn)));
        }
        let (after, through) = (frame.after_seq, frame.through_seq);
        if after != self.through || through < after {
            return Err(cut(format!("a frame covers ({after}, {through}] but should continue after {}", self.through)));
        }
        self.turn = frame.turn;
        let (mut taken, mut logged) = (Taken::default(), Vec::new());
        for event in frame.events {
            match event.event {
                _ if event.seq != 0 => logged.push(event),
                Some(Event::Snapshot(snapshot)) => {
                    taken.events.extend(self.take_snapshot(*snapshot)?);
                    return Ok(taken);
                }
                Some(Event::Heartbeat(heartbeat)) => taken.place = Some(heartbeat.queue_place),
                Some(Event::Reconnect(reconnect)) => {
                    taken.reconnect = Some(reconnect.after.unwrap_or_default().try_into().unwrap_or_default());
                }
                _ => {}
            }
        }
        self.check_whole(after, through, &logged)?;
        self.through = through;
        let known = self.last_seq;
        self.last_seq = known.max(through);
        for event in logged.into_iter().filter(|event| event.seq > known) {
            self.take_event(&event)?;
            if event.event.is_some() {
                taken.events.push(event);
            }
        }
        Ok(taken)
    }

    /// Checks that the events are in order and within the frame's range. If the requests ask for deltas, no event may be missing.
    fn check_whole(&self, mut last: i64, through: i64, logged: &[TurnEvent]) -> Result<(), Error> {
        for TurnEvent { seq, .. } in logged {
            if *seq <= last || *seq > through || self.deltas && *seq != last + 1 {
                return Err(cut(format!("event {seq} follows {last} in a frame that covers the events up to {through}")));
            }
            last = *seq;
        }
        if self.deltas && last != through {
            return Err(cut(format!("a frame that covers the events up to {through} ends with event {last}")));
        }
        Ok(())
    }

    fn take_event(&mut self, event: &TurnEvent) -> Result<(), Error> {
        let (turn, seq) = (&self.turn, event.seq);
        if let Some(terminal) = &self.terminal {
            return Err(Error::broken(format!("Event {seq} of {turn} comes after the terminal event, {}.", terminal.seq)));
        }
        let Some(kind) = &event.event else { return Ok(()) };
        self.take_attempt(event, kind)?;
        match kind {
            Event::Delta(delta) => {
                let end = *self.start.get_or_insert(delta.byte_offset) + self.text.len() as i64;
                if delta.byte_offset != end {
                    let found = delta.byte_offset;
                    return Err(Error::broken(format!(
                        "A piece of the answer of {} begins at byte {found}, not at {end}.",
                        self.turn
                    )));
                }
                self.text += &delta.text;
            }
            Event::Citation(citation) => self.cited.push((seq, citation.clone())),
            Event::AttemptRestarted(restarted) => return self.withdraw(restarted),
            Event::Answer(answer) => {
                check_answer(answer)?;
                let rest = self.start.map(|start| answer.text.as_bytes().get(start as usize..));
                if self.deltas && rest.is_some_and(|rest| rest != Some(self.text.as_bytes())) {
                    return Err(Error::broken(format!("The pieces of the answer of {} do not add up to its text.", self.turn)));
                }
                self.text.clone_from(&answer.text);
            }
            _ => {}
        }
        if is_terminal(kind) {
            self.terminal = Some(event.clone());
        }
        Ok(())
    }

    /// Checks that attempts only increase, and that each new one is announced. A terminal event needs no announcement, because CancelTurn may end a turn between two
    /// attempts.
    fn take_attempt(&mut self, event: &TurnEvent, kind: &Event) -> Result<(), Error> {
        let (attempt, known, announces) = (event.attempt, self.attempt, matches!(kind, Event::AttemptRestarted(_)));
        let wrong = if attempt < known {
            format!("belongs to attempt {attempt}, but an event of attempt {known} came before it")
        } else if announces && attempt == known {
            format!("announces attempt {attempt} a second time")
        } else if !announces && known > 0 && attempt > known && !is_terminal(kind) {
            format!("belongs to attempt {attempt}, which was not announced")
        } else {
            self.attempt = attempt;
            return Ok(());
        };
        Err(Error::broken(format!("Event {} of {} {wrong}.", event.seq, self.turn)))
    }

    /// Drops the unfinished output of the attempt before.
    fn withdraw(&mut self, restarted: &TurnAttemptRestarted) -> Result<(), Error> {
        self.cited.retain(|(seq, _)| *seq < restarted.discard_from_seq);
        if !self.deltas {
            return Ok(());
        }
        let keep = restarted.keep_bytes;
        // Before the start, another reader read all of the kept text.
        let start = self.start.map_or(keep, |start| start.min(keep));
        self.start = Some(start);
        let length = (keep - start) as usize;
        if !self.text.is_char_boundary(length) {
            let have = start + self.text.len() as i64;
            return Err(Error::broken(format!(
                "The answer of {}, with {have} bytes so far, cannot be cut after {keep} bytes.",
                self.turn
            )));
        }
        self.text.truncate(length);
        Ok(())
    }

    /// Takes the terminal event in place of the log, which the server has pruned.
    fn take_snapshot(&mut self, snapshot: TurnSnapshot) -> Result<Option<TurnEvent>, Error> {
        let event = snapshot.terminal_event.map(|event| *event).unwrap_or_default();
        if event.seq != snapshot.through_seq || event.seq <= self.last_seq {
            let (turn, seq) = (&self.turn, event.seq);
            return Err(Error::broken(format!("{turn} ended with event {seq}, but had already sent later events.")));
        }
        (self.last_seq, self.through) = (event.seq, event.seq);
        self.end(event.clone())?;
        Ok(event.event.is_some().then_some(event))
    }

    /// Ends the turn with an event that replaces all text and citations.
    pub fn end(&mut self, event: TurnEvent) -> Result<(), Error> {
        self.text.clear();
        self.cited.clear();
        if let Some(Event::Answer(answer)) = &event.event {
            check_answer(answer)?;
            self.text.clone_from(&answer.text);
        }
        self.terminal = Some(event);
        Ok(())
    }
}

/// A frame does not continue the frame before, or the stream ended early. A new stream returns what is missing.
pub(crate) fn cut(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Call, tonic::Code::Unavailable, format!("The answer's stream was interrupted ({why})."))
}

fn is_terminal(kind: &Event) -> bool {
    matches!(kind, Event::Answer(_) | Event::Refused(_) | Event::Failed(_) | Event::Cancelled(_))
}

/// Checks the SHA-256 of an answer's text and of each citation's quote, and the citations' ranges. Its errors are [`Kind::Broken`].
pub fn check_answer(answer: &TurnAnswer) -> Result<(), Error> {
    if digest(&SHA256, answer.text.as_bytes()).as_ref() != answer.sha256 {
        return Err(Error::broken("The answer's text does not match its SHA-256."));
    }
    for (index, citation) in answer.citations.iter().enumerate() {
        let (number, quote) = (index + 1, &citation.quote);
        let found = citation.quote_origin() != QuoteOrigin::NotFound;
        let (source, cited) = (citation.source_range.unwrap_or_default(), citation.answer_range.unwrap_or_default());
        let wrong = if digest(&SHA256, quote.as_bytes()).as_ref() != citation.sha256 {
            format!("The quote of citation {number} does not match its SHA-256.")
        } else if (if found { source.end - source.start } else { 0 }) != quote.len() as i64 {
            format!("The quote of citation {number} is not as long as its range in the source.")
        } else if cited.start < 0 || cited.start > cited.end || cited.end > answer.text.len() as i64 {
            format!("Citation {number} points beyond the answer's text.")
        } else {
            continue;
        };
        return Err(Error::broken(wrong));
    }
    Ok(())
}
