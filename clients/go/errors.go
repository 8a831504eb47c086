package responsa

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	chatv1 "responsa.example.org/contract/chat/v1"

	spb "google.golang.org/genproto/googleapis/rpc/status"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Errors of the client itself. errors.Is finds them in an Error.
var (
	// ErrUnreachable means that no Responsa server answers at the address.
	ErrUnreachable = errors.New("no server answers")
	// ErrCut means that a turn's stream was interrupted, and that resuming did not reach the turn's end in time. The turn may continue.
	ErrCut = errors.New("the stream was interrupted")
	// ErrBroken means that the server's data contradicts itself, such as an answer that does not match its SHA-256. Do not trust any of it.
	ErrBroken = errors.New("the data contradicts itself")
	// ErrClosed means that the client is closed.
	ErrClosed = errors.New("the client is closed")
)

// Violation is a field of the request that breaks a rule.
type Violation struct {
	// Field is the field's path in the request, and Rule the rule's id.
	Field, Rule string
	// Description is the mistake and its remedy.
	Description string
}

// Error is the error of every call. errors.As finds it.
type Error struct {
	Code codes.Code
	// Reason is a name of responsa.errors.v1.Reason without its prefix; "" if the error comes from a proxy, the network or this client.
	Reason string
	// Message is a text for people.
	Message string
	// Metadata is what the contract documents for the reason.
	Metadata   map[string]string
	Violations []Violation
	// RetryAfter is the time after which to try again; negative if the server does not say.
	RetryAfter time.Duration
	// Turn and AfterSeq are where Resume continues, if the error ends a turn's stream: the turn's name ("" if it is unknown), and the seq of the last event that was
	// passed on.
	Turn     string
	AfterSeq int64
	// RequestID is the request's request_id, also one that the client chose; "" without one. The same request with it has no second effect: a question attaches to the same
	// turn from its start.
	RequestID string

	cause error
}

var remedies = map[codes.Code]string{
	codes.InvalidArgument:    "Correct the request; repeating it does not help.",
	codes.OutOfRange:         "Correct the request; repeating it does not help.",
	codes.Unauthenticated:    "Use a valid API key, or sign in with the right e-mail address and password.",
	codes.PermissionDenied:   "Call with the credential of a user who has this right.",
	codes.NotFound:           "Check the name. What belongs to another user is not found either.",
	codes.AlreadyExists:      "Choose another name or request_id.",
	codes.Aborted:            "Read the resource again or wait until it is free, then repeat the call.",
	codes.FailedPrecondition: "Change what the message names, then repeat the call.",
	codes.ResourceExhausted:  "Send less or make room, then repeat the call.",
	codes.Unavailable:        "Repeat the call.",
	codes.DeadlineExceeded:   "Allow more time. An accepted turn continues: resume it, or ask again with the error's request_id.",
	codes.Canceled:           "Repeat what was cancelled if you still want its result.",
}

var cancelledBy = map[chatv1.CancelCause]string{
	chatv1.CancelCause_CANCEL_CAUSE_OWNER:         " by its owner",
	chatv1.CancelCause_CANCEL_CAUSE_ADMINISTRATOR: " by an administrator",
	chatv1.CancelCause_CANCEL_CAUSE_INTERRUPT:     ": a newer question replaced it",
	chatv1.CancelCause_CANCEL_CAUSE_DISCONNECT:    ": nobody followed it",
}

// Error is the reason or the code, and the message.
func (e *Error) Error() string {
	if e.Reason != "" {
		return e.Reason + ": " + e.Message
	}
	return e.Code.String() + ": " + e.Message
}

// Unwrap returns ErrUnreachable, ErrCut, ErrBroken, ErrClosed, the context's error, or nil.
func (e *Error) Unwrap() error { return e.cause }

// GRPCStatus lets status.Code and status.FromError read the error.
func (e *Error) GRPCStatus() *status.Status { return status.New(e.Code, e.Message) }

// Remedy is what to do, in a sentence.
func (e *Error) Remedy() string {
	if len(e.Violations) > 0 {
		found := make([]string, len(e.Violations))
		for i, violation := range e.Violations {
			found[i] = violation.Field + ": " + violation.Description
		}
		return strings.Join(found, "; ")
	}
	if e.RetryAfter >= 0 {
		return fmt.Sprintf("Try again in %.0f s.", math.Ceil(e.RetryAfter.Seconds()))
	}
	switch e.cause {
	case ErrUnreachable:
		return "Check the address, and that a Responsa server runs there."
	case ErrClosed:
		return "Make another client."
	}
	if remedy, ok := remedies[e.Code]; ok {
		return remedy
	}
	return "Report the error."
}

func newError(code codes.Code, cause error, format string, arguments ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, arguments...), RetryAfter: -1, cause: cause}
}

func broken(format string, arguments ...any) *Error {
	return newError(codes.DataLoss, ErrBroken, format, arguments...)
}

// ErrorOf is the error in a google.rpc.Status: of a `failed` event, an operation or a document. Details that it does not know are ignored.
func ErrorOf(from *spb.Status) *Error {
	made := newError(codes.Code(from.GetCode()), nil, "%s", from.GetMessage())
	if made.Message == "" {
		made.Message = made.Code.String()
	}
	for _, detail := range status.FromProto(from).Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == "responsa" {
				made.Reason, made.Metadata = detail.GetReason(), detail.GetMetadata()
			}
		case *errdetails.RetryInfo:
			made.RetryAfter = detail.GetRetryDelay().AsDuration()
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				made.Violations = append(made.Violations, Violation{violation.GetField(), violation.GetReason(), violation.GetDescription()})
			}
		}
	}
	return made
}

// TurnError is the error in a turn's terminal event, if the turn failed or was cancelled; otherwise nil. A refusal is not an error.
func TurnError(terminal *chatv1.TurnEvent) error {
	switch event := terminal.GetEvent().(type) {
	case *chatv1.TurnEvent_Failed:
		return ErrorOf(event.Failed.GetStatus())
	case *chatv1.TurnEvent_Cancelled:
		return newError(codes.Canceled, nil, "The turn was cancelled%s.", cancelledBy[event.Cancelled.GetBy()])
	}
	return nil
}

// errorOf is the typed error of a failed attempt. ctx is the caller's.
func errorOf(ctx context.Context, failure error) *Error {
	var typed *Error
	if errors.As(failure, &typed) {
		return typed
	}
	found, ok := status.FromError(failure)
	if !ok { // of the function that returns the access token
		return newError(codes.Unauthenticated, failure, "The access token is missing: %v", failure)
	}
	made := ErrorOf(found.Proto())
	_, limited := ctx.Deadline()
	switch {
	case made.Reason == "" && ctx.Err() != nil:
		made.cause = ctx.Err()
	case limited && made.isLate(): // the server knows the deadline, and may see it pass first
		made.cause = context.DeadlineExceeded
	}
	return made
}

// isLate is whether the deadline of a call has passed: the caller's, or that of a proxy on the way.
func (e *Error) isLate() bool {
	return e.Reason == "DEADLINE_EXCEEDED" || e.Reason == "" && e.Code == codes.DeadlineExceeded
}

func (e *Error) mayPass() bool {
	switch e.Reason {
	case "":
		switch e.Code {
		// If a server behind a proxy is killed, the client sees one of these codes, but rarely UNAVAILABLE.
		case codes.Unavailable, codes.Internal, codes.Unknown, codes.Aborted, codes.Canceled:
			return true
		}
		return false
	case "RATE_LIMIT", "LIMIT_REACHED":
		return e.RetryAfter >= 0 && e.RetryAfter <= longestWait
	case "DRAINING", "PART_UNAVAILABLE", "OVERLOADED":
		return true
	}
	return false
}

// neverConnected is whether no server answered at the address, so that waiting does not help.
func (e *Error) neverConnected() bool {
	if e.Reason != "" || e.Code != codes.Unavailable {
		return false
	}
	for _, words := range []string{"error while dialing", "name resolver error", "produced zero addresses", "reading server preface"} {
		if strings.Contains(strings.ToLower(e.Message), words) {
			return true
		}
	}
	return errors.Is(e, ErrUnreachable)
}

// lastCause is the last of the causes that gRPC strings together, such as "connection refused".
func lastCause(message string) string {
	return strings.Trim(message[strings.LastIndex(message, ": ")+1:], ` "`)
}
