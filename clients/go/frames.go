package responsa

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"time"
	"unicode/utf8"

	chatv1 "responsa.example.org/contract/chat/v1"
)

// frame is a response of Ask or ResumeTurn.
type frame interface {
	GetTurn() string
	GetAfterSeq() int64
	GetThroughSeq() int64
	GetEvents() []*chatv1.TurnEvent
}

// chainBroken means that a frame does not continue the frame before. A new stream returns what is missing.
type chainBroken string

func (c chainBroken) Error() string { return string(c) }

// taken is what a frame brought: events to pass on, the place in the queue (negative if unknown), and the wait before another connection (negative for none).
type taken struct {
	events    []*chatv1.TurnEvent
	place     int
	reconnect time.Duration
}

// reader takes the frames of one turn over any number of streams, and returns each event once. clients/conformance/cases.yaml has its rules as cases.
type reader struct {
	deltas   bool
	turn     string
	lastSeq  int64
	terminal *chatv1.TurnEvent
	cited    []*chatv1.TurnEvent
	through  int64
	attempt  int32
	text     []byte
	// start is the byte of the answer at which text begins; negative while it is unknown, because another reader read the beginning.
	start int64
}

func newReader(deltas bool, turn string, afterSeq int64) *reader {
	made := &reader{deltas: deltas, turn: turn, lastSeq: afterSeq, through: afterSeq}
	if afterSeq > 0 {
		made.start = -1
	}
	return made
}

func (r *reader) take(next frame) (taken, error) {
	result := taken{place: -1, reconnect: -1}
	if r.turn != "" && next.GetTurn() != r.turn {
		return result, broken("The stream of %s contained a frame of %s.", r.turn, next.GetTurn())
	}
	after, through := next.GetAfterSeq(), next.GetThroughSeq()
	if after != r.through || through < after {
		return result, chainBroken(fmt.Sprintf("a frame covers (%d, %d] but should continue after %d", after, through, r.through))
	}
	r.turn = next.GetTurn()
	var logged []*chatv1.TurnEvent
	for _, event := range next.GetEvents() {
		if event.GetSeq() != 0 {
			logged = append(logged, event)
			continue
		}
		switch kind := event.GetEvent().(type) {
		case *chatv1.TurnEvent_Snapshot:
			return r.takeSnapshot(result, kind.Snapshot)
		case *chatv1.TurnEvent_Heartbeat:
			result.place = int(kind.Heartbeat.GetQueuePlace())
		case *chatv1.TurnEvent_Reconnect:
			result.reconnect = kind.Reconnect.GetAfter().AsDuration()
		}
	}
	if err := r.checkWhole(after, through, logged); err != nil {
		return result, err
	}
	r.through = through
	known := r.lastSeq
	r.lastSeq = max(r.lastSeq, through)
	for _, event := range logged {
		if event.GetSeq() <= known {
			continue
		}
		if err := r.takeEvent(event); err != nil {
			return result, err
		}
		if event.GetEvent() != nil {
			result.events = append(result.events, event)
		}
	}
	return result, nil
}

// checkWhole checks that the events are in order and within the frame's range. If the requests ask for deltas, no event may be missing.
func (r *reader) checkWhole(last, through int64, logged []*chatv1.TurnEvent) error {
	for _, event := range logged {
		seq := event.GetSeq()
		if seq <= last || seq > through || (r.deltas && seq != last+1) {
			return chainBroken(fmt.Sprintf("event %d follows %d in a frame that covers the events up to %d", seq, last, through))
		}
		last = seq
	}
	if r.deltas && last != through {
		return chainBroken(fmt.Sprintf("a frame that covers the events up to %d ends with event %d", through, last))
	}
	return nil
}

func (r *reader) takeEvent(event *chatv1.TurnEvent) error {
	if r.terminal != nil {
		return broken("Event %d of %s comes after the terminal event, %d.", event.GetSeq(), r.turn, r.terminal.GetSeq())
	}
	if event.GetEvent() == nil {
		return nil
	}
	if err := r.takeAttempt(event); err != nil {
		return err
	}
	switch kind := event.GetEvent().(type) {
	case *chatv1.TurnEvent_Delta:
		if r.start < 0 {
			r.start = kind.Delta.GetByteOffset()
		}
		if end := r.start + int64(len(r.text)); kind.Delta.GetByteOffset() != end {
			return broken("A piece of the answer of %s begins at byte %d, not at %d.", r.turn, kind.Delta.GetByteOffset(), end)
		}
		r.text = append(r.text, kind.Delta.GetText()...)
	case *chatv1.TurnEvent_Citation:
		r.cited = append(r.cited, event)
	case *chatv1.TurnEvent_AttemptRestarted:
		return r.withdraw(kind.AttemptRestarted)
	case *chatv1.TurnEvent_Answer:
		if err := CheckAnswer(kind.Answer); err != nil {
			return err
		}
		text := []byte(kind.Answer.GetText())
		if r.deltas && r.start >= 0 && (r.start > int64(len(text)) || !bytes.Equal(text[r.start:], r.text)) {
			return broken("The pieces of the answer of %s do not add up to its text.", r.turn)
		}
		r.text = text
	}
	if isTerminal(event) {
		r.terminal = event
	}
	return nil
}

// takeAttempt checks that attempts only increase, and that each new one is announced. A terminal event needs no announcement, because CancelTurn may end a turn between
// two attempts.
func (r *reader) takeAttempt(event *chatv1.TurnEvent) error {
	attempt := event.GetAttempt()
	_, announces := event.GetEvent().(*chatv1.TurnEvent_AttemptRestarted)
	switch {
	case attempt < r.attempt:
		return broken("Event %d of %s belongs to attempt %d, but an event of attempt %d came before it.", event.GetSeq(), r.turn, attempt, r.attempt)
	case announces && attempt == r.attempt:
		return broken("Event %d of %s announces attempt %d a second time.", event.GetSeq(), r.turn, attempt)
	case !announces && r.attempt > 0 && attempt > r.attempt && !isTerminal(event):
		return broken("Event %d of %s belongs to attempt %d, which was not announced.", event.GetSeq(), r.turn, attempt)
	}
	r.attempt = attempt
	return nil
}

// withdraw drops the unfinished output of the attempt before.
func (r *reader) withdraw(restarted *chatv1.TurnAttemptRestarted) error {
	var kept []*chatv1.TurnEvent
	for _, event := range r.cited {
		if event.GetSeq() < restarted.GetDiscardFromSeq() {
			kept = append(kept, event)
		}
	}
	r.cited = kept
	if !r.deltas {
		return nil
	}
	keep := restarted.GetKeepBytes()
	if r.start < 0 || keep < r.start {
		r.start = keep // another reader read all of the kept text
	}
	length, have := keep-r.start, int64(len(r.text))
	if length > have || (length < have && !utf8.RuneStart(r.text[length])) {
		return broken("The answer of %s, with %d bytes so far, cannot be cut after %d bytes.", r.turn, r.start+have, keep)
	}
	r.text = r.text[:length]
	return nil
}

// takeSnapshot takes the terminal event in place of the log, which the server has pruned.
func (r *reader) takeSnapshot(result taken, snapshot *chatv1.TurnSnapshot) (taken, error) {
	event := snapshot.GetTerminalEvent()
	if event.GetSeq() != snapshot.GetThroughSeq() || event.GetSeq() <= r.lastSeq {
		return result, broken("%s ended with event %d, but had already sent later events.", r.turn, event.GetSeq())
	}
	r.lastSeq, r.through = event.GetSeq(), event.GetSeq()
	if event.GetEvent() != nil {
		result.events = append(result.events, event)
	}
	return result, r.end(event)
}

// end ends the turn with an event that replaces all text and citations.
func (r *reader) end(event *chatv1.TurnEvent) error {
	r.text, r.cited = nil, nil
	if answer := event.GetAnswer(); answer != nil {
		if err := CheckAnswer(answer); err != nil {
			return err
		}
		r.text = []byte(answer.GetText())
	}
	r.terminal = event
	return nil
}

func isTerminal(event *chatv1.TurnEvent) bool {
	switch event.GetEvent().(type) {
	case *chatv1.TurnEvent_Answer, *chatv1.TurnEvent_Refused, *chatv1.TurnEvent_Failed, *chatv1.TurnEvent_Cancelled:
		return true
	}
	return false
}

// CheckAnswer checks the SHA-256 of an answer's text and of each citation's quote, and the citations' ranges. Its errors are ErrBroken.
func CheckAnswer(answer *chatv1.TurnAnswer) error {
	if sum := sha256.Sum256([]byte(answer.GetText())); !bytes.Equal(sum[:], answer.GetSha256()) {
		return broken("The answer's text does not match its SHA-256.")
	}
	for i, citation := range answer.GetCitations() {
		quote, source, cited := citation.GetQuote(), citation.GetSourceRange(), citation.GetAnswerRange()
		if sum := sha256.Sum256([]byte(quote)); !bytes.Equal(sum[:], citation.GetSha256()) {
			return broken("The quote of citation %d does not match its SHA-256.", i+1)
		}
		quoted := source.GetEnd() - source.GetStart()
		if citation.GetQuoteOrigin() == chatv1.QuoteOrigin_QUOTE_ORIGIN_NOT_FOUND {
			quoted = 0
		}
		if quoted != int64(len(quote)) {
			return broken("The quote of citation %d is not as long as its range in the source.", i+1)
		}
		if cited.GetStart() < 0 || cited.GetStart() > cited.GetEnd() || cited.GetEnd() > int64(len(answer.GetText())) {
			return broken("Citation %d points beyond the answer's text.", i+1)
		}
	}
	return nil
}
