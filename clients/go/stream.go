package responsa

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	chatv1 "responsa.example.org/contract/chat/v1"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

const internalTries = 3

// Notice is what happens to a stream besides its events.
type Notice struct {
	// QueuePlace is the number of turns that come before this one in its conversation, if it has changed; otherwise -1.
	QueuePlace int
	// Reconnecting is whether the stream ended before the turn did. The client opens another one after Pause. Cause is the error, or nil if the server asked for it.
	Reconnecting bool
	Pause        time.Duration
	Cause        error
}

// Stream yields each event of one turn once, in order of seq, up to the terminal event, over any number of connections.
type Stream struct {
	// OnNotice, if it is set before the iteration, is called with each notice.
	OnNotice func(Notice)

	client  *Client
	ctx     context.Context
	ask     *chatv1.AskRequest // nil for a resumed turn
	backoff Backoff

	mu     sync.Mutex // guards reader, handed and place
	reader *reader
	handed int64
	place  int

	troubleSince time.Time
	internal     int
	sentAway     bool // the server has asked for another connection, and nothing new has arrived since
	renewed      bool

	// The current connection's stream.
	frames    int
	reconnect time.Duration
	silent    bool
}

// Ask asks a question, and follows its turn until ctx ends. The iteration sends the question. When ctx ends or the iteration is left, the turn continues: Resume follows it
// again, and Stop cancels it. With CancelOnDisconnect, the server cancels it ten seconds later.
func (c *Client) Ask(ctx context.Context, question *chatv1.AskRequest) *Stream {
	asked := withRequestID(proto.CloneOf(question))
	return &Stream{client: c, ctx: ctx, ask: asked, backoff: c.config.Backoff, reader: newReader(asked.GetIncludeDeltas(), "", 0)}
}

// Resume follows a turn after the event with the seq AfterSeq: before, while and after it runs.
func (c *Client) Resume(ctx context.Context, turn *chatv1.ResumeTurnRequest) *Stream {
	read := newReader(turn.GetIncludeDeltas(), turn.GetTurn(), turn.GetAfterSeq())
	return &Stream{client: c, ctx: ctx, backoff: c.config.Backoff, reader: read, handed: turn.GetAfterSeq()}
}

// Turn is turns/{uuid}, or "" before the first frame.
func (s *Stream) Turn() string { return locked(s, func() string { return s.reader.turn }) }

// RequestID is the question's request_id. A question with the same one attaches to the same turn.
func (s *Stream) RequestID() string { return s.ask.GetRequestId() }

// LastSeq is the seq of the last event that was yielded, after which another client can resume the turn.
func (s *Stream) LastSeq() int64 { return locked(s, func() int64 { return s.handed }) }

// QueuePlace is the number of turns that come before this one in its conversation, as last reported.
func (s *Stream) QueuePlace() int { return locked(s, func() int { return s.place }) }

// Terminal is the event that ended the turn, or nil. It is also set if the turn was resumed after this event, when nothing is yielded.
func (s *Stream) Terminal() *chatv1.TurnEvent {
	return locked(s, func() *chatv1.TurnEvent { return s.reader.terminal })
}

// Text is the answer's text so far: the deltas without what was withdrawn, and at the end the complete answer.
func (s *Stream) Text() string { return locked(s, func() string { return string(s.reader.text) }) }

// Citations are the citations so far, without withdrawn ones.
func (s *Stream) Citations() []*chatv1.Citation {
	return locked(s, func() []*chatv1.Citation {
		if answer := s.reader.terminal.GetAnswer(); answer != nil {
			return answer.GetCitations()
		}
		var found []*chatv1.Citation
		for _, event := range s.reader.cited {
			found = append(found, event.GetCitation())
		}
		return found
	})
}

func locked[T any](s *Stream, read func() T) T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return read()
}

// Stop cancels the turn, also before its name is known: the question then cannot start a turn any more. The iteration goes on to the terminal event.
func (s *Stream) Stop(ctx context.Context) (*chatv1.Turn, error) {
	name := s.Turn()
	if name == "" {
		asked := s.ask
		started, err := s.client.Chat.StartTurn(ctx, &chatv1.StartTurnRequest{
			Conversation: asked.GetConversation(), Text: asked.GetText(), RequestId: asked.GetRequestId(), Options: asked.GetOptions(), Agent: asked.GetAgent(),
		})
		if err != nil {
			return nil, err
		}
		name = started.GetName()
	}
	return s.client.Chat.CancelTurn(ctx, &chatv1.CancelTurnRequest{Name: name})
}

// Events are the turn's events. If following fails, the last pair has the error, an *Error that says where to resume. Iterate once.
func (s *Stream) Events() iter.Seq2[*chatv1.TurnEvent, error] {
	return func(yield func(*chatv1.TurnEvent, error) bool) {
		for s.Terminal() == nil {
			pause, left, err := s.followOnce(yield)
			if left {
				return
			}
			if err == nil && sleep(s.ctx, pause) != nil {
				err = s.interrupted()
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// followOnce reads one connection's stream, and decides how to continue: after a pause, or with an error. left is whether nothing remains to do.
func (s *Stream) followOnce(yield func(*chatv1.TurnEvent, error) bool) (pause time.Duration, left bool, err error) {
	used, err := s.client.take()
	if err != nil {
		return 0, false, s.named(errorOf(s.ctx, err))
	}
	fresh := false
	defer func() { s.client.give(used, fresh) }()
	failure, left := s.read(chatv1.NewChatServiceClient(used.conn), yield)
	if failure != nil && (errors.Is(failure, ErrBroken) || errors.Is(failure, ErrClosed)) {
		return 0, false, s.named(failure)
	}
	if left || s.Terminal() != nil {
		return 0, true, nil
	}
	if failure == nil && s.frames == 0 && s.Turn() != "" && s.reader.lastSeq > 0 {
		// The turn may have ended earlier.
		if failure = s.askWhetherEnded(); s.Terminal() != nil {
			return 0, true, nil
		}
	}
	pause, fresh, err = s.after(failure)
	return pause, false, err
}

// read passes on what one stream brings. Its error is nil if the stream ended without one; left is whether the caller has left the iteration.
func (s *Stream) read(chat chatv1.ChatServiceClient, yield func(*chatv1.TurnEvent, error) bool) (failure *Error, left bool) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	var silent atomic.Bool
	watchdog := time.AfterFunc(s.client.config.Silence, func() { silent.Store(true); cancel() })
	defer watchdog.Stop()
	s.frames, s.reconnect, s.silent = 0, -1, false
	next, err := s.open(ctx, chat)
	for err == nil && s.Terminal() == nil && s.reconnect < 0 {
		var got frame
		if got, err = next(); err != nil {
			break
		}
		watchdog.Stop()
		var events []*chatv1.TurnEvent
		if events, err = s.takeFrame(got); err != nil {
			break
		}
		for _, event := range events {
			s.hand(event.GetSeq())
			if !yield(event, nil) {
				return nil, true
			}
		}
		s.hand(s.reader.lastSeq)
		watchdog.Reset(s.client.config.Silence)
	}
	var gap chainBroken
	switch {
	case err == nil || err == io.EOF:
		return nil, false
	case errors.As(err, &gap):
		return cut(string(gap)), false
	case silent.Load() && s.ctx.Err() == nil:
		s.silent = true
		return cut("not even a heartbeat arrived"), false
	}
	return errorOf(s.ctx, err), false
}

// open makes the call, and returns the function that reads its next frame.
func (s *Stream) open(ctx context.Context, chat chatv1.ChatServiceClient) (func() (frame, error), error) {
	if s.reader.turn == "" {
		s.reader.through = 0
		opened, err := chat.Ask(ctx, s.ask)
		return func() (frame, error) { return opened.Recv() }, err
	}
	s.reader.through = s.reader.lastSeq
	request := &chatv1.ResumeTurnRequest{Turn: s.reader.turn, AfterSeq: s.reader.lastSeq, IncludeDeltas: s.reader.deltas}
	opened, err := chat.ResumeTurn(ctx, request)
	return func() (frame, error) { return opened.Recv() }, err
}

func (s *Stream) takeFrame(got frame) ([]*chatv1.TurnEvent, error) {
	s.mu.Lock()
	before := s.reader.lastSeq
	found, err := s.reader.take(got)
	moved := s.reader.lastSeq > before
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	s.client.reached.Store(true)
	s.frames++
	s.reconnect = found.reconnect
	if moved {
		s.backoff.used, s.internal, s.sentAway, s.renewed = 0, 0, false, false
	}
	if found.reconnect < 0 {
		s.troubleSince = time.Time{}
	}
	if found.place < 0 && moved {
		found.place = 0
	}
	if found.place >= 0 && found.place != s.QueuePlace() {
		locked(s, func() int { s.place = found.place; return 0 })
		s.notify(Notice{QueuePlace: found.place})
	}
	return found.events, nil
}

func (s *Stream) hand(seq int64) { locked(s, func() int64 { s.handed = seq; return seq }) }

func (s *Stream) notify(notice Notice) {
	if s.OnNotice != nil {
		s.OnNotice(notice)
	}
}

// askWhetherEnded takes the terminal event from the turn itself, if the turn ended at the last seq that was read.
func (s *Stream) askWhetherEnded() *Error {
	turn, err := s.client.Chat.GetTurn(s.ctx, &chatv1.GetTurnRequest{Name: s.Turn()})
	if err != nil {
		return errorOf(s.ctx, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if turn.GetTerminalEvent() == nil || turn.GetLastSeq() != s.reader.lastSeq {
		return nil
	}
	if err := s.reader.end(turn.GetTerminalEvent()); err != nil {
		return errorOf(s.ctx, err)
	}
	return nil
}

// after decides how to continue after a stream that ended before its turn: after a pause, and whether over a fresh connection.
func (s *Stream) after(failure *Error) (pause time.Duration, fresh bool, err error) {
	if s.ctx.Err() != nil {
		return 0, false, s.interrupted()
	}
	if s.reconnect >= 0 && !s.sentAway {
		s.sentAway, pause, fresh = true, s.reconnect, true
	} else {
		if failure == nil {
			failure = cut("it ended before the turn did")
		}
		if s.isFinal(failure) {
			return 0, false, s.named(failure)
		}
		fresh = s.reconnect >= 0 || s.silent || failure.Reason == "DRAINING"
		var more bool
		if pause, more = s.wait(failure); !more {
			return 0, false, s.givenUp(failure)
		}
	}
	if !allows(s.ctx, pause) {
		// Before the turn is accepted, the server's own error says more than a passed deadline.
		if failure != nil && failure.Reason != "" && !failure.isLate() && s.reader.turn == "" {
			return 0, false, s.named(failure)
		}
		return 0, false, s.late()
	}
	notice := Notice{QueuePlace: -1, Reconnecting: true, Pause: pause}
	if failure != nil {
		notice.Cause = failure
	}
	s.notify(notice)
	return pause, fresh, nil
}

func (s *Stream) isFinal(failure *Error) bool {
	switch {
	case failure.Reason == "INTERNAL":
		// An accepted turn outlives an unexpected error of the call that follows it.
		s.internal++
		return s.reader.turn == "" || s.internal >= internalTries
	case s.client.mayRenew(failure) && !s.renewed:
		s.renewed = true
		return false
	case failure.isLate(), failure.Reason == "CANCELLED":
		return false // the caller did not cause it, so a proxy on the way did
	}
	return !s.client.mayRepeat(failure)
}

// wait is the pause before the next stream; false if the patience has run out.
func (s *Stream) wait(failure *Error) (time.Duration, bool) {
	least := max(s.reconnect, failure.RetryAfter, 0)
	if s.troubleSince.IsZero() {
		s.troubleSince = time.Now()
	}
	// Until the server has answered once, there are only as many attempts as for a single call.
	pause, more := s.backoff.next(least)
	if !more && s.client.reached.Load() {
		pause, more = s.backoff.pause(least), true
	}
	return pause, more && time.Since(s.troubleSince)+pause <= s.client.config.Patience
}

func (s *Stream) givenUp(last *Error) *Error {
	if last.Reason != "" {
		return s.named(last)
	}
	return s.named(newError(codes.Unavailable, ErrCut, "%s The turn may continue%s.", last.Message, s.howToGoOn()))
}

func (s *Stream) howToGoOn() string {
	if s.reader.turn != "" {
		return ": resume " + s.reader.turn
	}
	return ": ask again with request_id " + s.ask.GetRequestId()
}

// interrupted is the error for a context that has ended.
func (s *Stream) interrupted() *Error {
	if errors.Is(s.ctx.Err(), context.DeadlineExceeded) {
		return s.late()
	}
	return s.named(newError(codes.Canceled, context.Canceled, "The call was cancelled. The turn continues%s.", s.howToGoOn()))
}

func (s *Stream) late() *Error {
	return s.named(newError(codes.DeadlineExceeded, context.DeadlineExceeded, "The turn had not ended by the deadline. It continues%s.", s.howToGoOn()))
}

// named is the error with what a caller needs to continue later.
func (s *Stream) named(failure *Error) *Error {
	failure.Turn, failure.AfterSeq, failure.RequestID = s.Turn(), s.LastSeq(), s.RequestID()
	return failure
}

func cut(why string) *Error {
	return newError(codes.Unavailable, nil, "The answer's stream was interrupted (%s).", why)
}
