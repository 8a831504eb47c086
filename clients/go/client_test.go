package responsa

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	authv1 "responsa.example.org/contract/auth/v1"
	chatv1 "responsa.example.org/contract/chat/v1"
	knowledgev1 "responsa.example.org/contract/knowledge/v1"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// scripted is a server whose calls fail with the next of errors, and succeed when none is left.
type scripted struct {
	authv1.UnimplementedAuthServiceServer
	chatv1.UnimplementedChatServiceServer
	knowledgev1.UnimplementedKnowledgeServiceServer

	errors   []error
	requests []proto.Message
	tokens   []string
	uploaded []byte
}

func (s *scripted) take(ctx context.Context, request proto.Message) error {
	sent, _ := metadata.FromIncomingContext(ctx)
	s.requests, s.tokens = append(s.requests, request), append(s.tokens, strings.Join(sent["authorization"], ""))
	if len(s.errors) == 0 {
		return nil
	}
	next := s.errors[0]
	s.errors = s.errors[1:]
	return next
}

func (s *scripted) GetMe(ctx context.Context, request *authv1.GetMeRequest) (*authv1.User, error) {
	return &authv1.User{}, s.take(ctx, request)
}

func (s *scripted) RefreshToken(ctx context.Context, request *authv1.RefreshTokenRequest) (*authv1.RefreshTokenResponse, error) {
	later := timestamppb.New(time.Now().Add(time.Hour))
	return &authv1.RefreshTokenResponse{Tokens: &authv1.SessionTokens{AccessToken: "new", AccessExpireTime: later}}, s.take(ctx, request)
}

func (s *scripted) UpdateCollection(ctx context.Context, request *knowledgev1.UpdateCollectionRequest) (*knowledgev1.Collection, error) {
	return &knowledgev1.Collection{}, s.take(ctx, request)
}

func (s *scripted) Ask(request *chatv1.AskRequest, stream grpc.ServerStreamingServer[chatv1.AskResponse]) error {
	return s.take(stream.Context(), request)
}

func (s *scripted) StartTurn(ctx context.Context, request *chatv1.StartTurnRequest) (*chatv1.Turn, error) {
	return &chatv1.Turn{Name: "turns/1"}, s.take(ctx, request)
}

func (s *scripted) CancelTurn(ctx context.Context, request *chatv1.CancelTurnRequest) (*chatv1.Turn, error) {
	return &chatv1.Turn{Name: request.GetName()}, s.take(ctx, request)
}

func (s *scripted) UploadDocument(stream grpc.ClientStreamingServer[knowledgev1.UploadDocumentRequest, longrunningpb.Operation]) error {
	s.uploaded = nil
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&longrunningpb.Operation{Name: "operations/1"})
		}
		if err != nil {
			return err
		}
		if start := message.GetStart(); start != nil {
			if err := s.take(stream.Context(), start); err != nil {
				return err
			}
		}
		s.uploaded = append(s.uploaded, message.GetChunk()...)
		if finish := message.GetFinish(); finish != nil {
			if sum := sha256.Sum256(s.uploaded); !bytes.Equal(sum[:], finish.GetSha256()) {
				return status.Error(codes.DataLoss, "the bytes do not match")
			}
		}
	}
}

func serve(t *testing.T, config Config, failures ...error) (*scripted, *Client) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	here := &scripted{errors: failures}
	server := grpc.NewServer()
	authv1.RegisterAuthServiceServer(server, here)
	chatv1.RegisterChatServiceServer(server, here)
	knowledgev1.RegisterKnowledgeServiceServer(server, here)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	config.URL, config.Backoff = listener.Addr().String(), Backoff{Attempts: 3, Base: time.Millisecond}
	client, err := New(config)
	check(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return here, client
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func reason(code codes.Code, reason string, more ...*errdetails.BadRequest_FieldViolation) error {
	made := status.New(code, "It is so.")
	made, _ = made.WithDetails(&errdetails.ErrorInfo{Domain: "responsa", Reason: reason})
	if more != nil {
		made, _ = made.WithDetails(&errdetails.BadRequest{FieldViolations: more})
	}
	return made.Err()
}

var lost = status.Error(codes.Unavailable, "the connection was lost")

func TestACallWhoseResponseIsLostIsRepeatedWithTheSameRequestID(t *testing.T) {
	here, client := serve(t, Config{APIKey: "rsp_key"}, lost, lost)
	_, err := client.Chat.StartTurn(t.Context(), &chatv1.StartTurnRequest{Text: "Why?"})
	check(t, err)
	first := here.requests[0].(*chatv1.StartTurnRequest)
	if len(here.requests) != 3 || len(first.GetRequestId()) != 36 || !proto.Equal(first, here.requests[2]) || here.tokens[2] != "Bearer rsp_key" {
		t.Fatal(here.requests, here.tokens)
	}
}

func TestACallWithASecondEffectIsNotRepeated(t *testing.T) {
	for _, etag := range []string{"", "1"} {
		here, client := serve(t, Config{}, lost, lost)
		_, err := client.Knowledge.UpdateCollection(t.Context(), &knowledgev1.UpdateCollectionRequest{Collection: &knowledgev1.Collection{Etag: etag}})
		if repeated := len(here.requests) == 3; repeated != (err == nil) || repeated != (etag == "") {
			t.Fatal(etag, len(here.requests), err)
		}
	}
}

func TestARefusedTokenIsReplacedOnce(t *testing.T) {
	refused := reason(codes.Unauthenticated, "TOKEN_INVALID")
	tokens := []string{"first", "second", "third"}
	next := func(context.Context) (string, error) { token := tokens[0]; tokens = tokens[1:]; return token, nil }
	here, client := serve(t, Config{Token: next}, refused, refused)
	_, err := client.Auth.GetMe(t.Context(), &authv1.GetMeRequest{})
	var typed *Error
	if !errors.As(err, &typed) || typed.Reason != "TOKEN_INVALID" || strings.Join(here.tokens, " ") != "Bearer first Bearer second" {
		t.Fatal(err, here.tokens)
	}
}

func TestARefreshThatFailedIsRepeatedWithTheSameRequestID(t *testing.T) {
	// All attempts of the first call fail.
	here, client := serve(t, Config{}, lost, lost, lost, lost)
	session := NewSession(client.Auth, &authv1.SessionTokens{RefreshToken: "rst_1"})
	if _, err := session.Token(t.Context()); err == nil {
		t.Fatal("no error")
	}
	for range 2 { // the second token is still good
		token, err := session.Token(t.Context())
		if check(t, err); token != "new" {
			t.Fatal(token)
		}
	}
	if len(here.requests) != 5 || !proto.Equal(here.requests[0], here.requests[4]) {
		t.Fatal(here.requests)
	}
}

func TestAnErrorNamesItsReasonFieldsAndRemedy(t *testing.T) {
	violation := &errdetails.BadRequest_FieldViolation{Field: "text", Reason: "string.min_bytes", Description: "must not be empty"}
	_, client := serve(t, Config{}, reason(codes.InvalidArgument, "INVALID_FIELD", violation))
	_, err := client.Chat.StartTurn(t.Context(), &chatv1.StartTurnRequest{})
	var typed *Error
	if !errors.As(err, &typed) || typed.Reason != "INVALID_FIELD" || typed.Remedy() != "text: must not be empty" || status.Code(err) != codes.InvalidArgument {
		t.Fatal(err)
	}
	limited, _ := status.New(codes.ResourceExhausted, "").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)})
	if remedy := ErrorOf(limited.Proto()).Remedy(); remedy != "Try again in 2 s." {
		t.Fatal(remedy)
	}
	cancelled := &chatv1.TurnEvent{Event: &chatv1.TurnEvent_Cancelled{Cancelled: &chatv1.TurnCancelled{By: chatv1.CancelCause_CANCEL_CAUSE_OWNER}}}
	if message := TurnError(cancelled).Error(); message != "Canceled: The turn was cancelled by its owner." {
		t.Fatal(message)
	}
	nowhere, err := New(Config{URL: "unix:" + t.TempDir() + "/none.sock"})
	check(t, err)
	_, err = nowhere.Auth.GetMe(t.Context(), &authv1.GetMeRequest{})
	if !errors.As(err, &typed) || !strings.HasPrefix(typed.Remedy(), "Check the address") {
		t.Fatal(err)
	}
	check(t, nowhere.Close())
}

func TestADeadlineIsTheCallersAlsoIfTheServerSeesItFirst(t *testing.T) {
	late := reason(codes.DeadlineExceeded, "DEADLINE_EXCEEDED")
	here, client := serve(t, Config{}, late, late)
	_, single := client.Chat.StartTurn(t.Context(), &chatv1.StartTurnRequest{Text: "Why?"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// No other attempt fits into the minute.
	client.config.Backoff = Backoff{Attempts: 3, Base: 2 * time.Minute, Cap: 2 * time.Minute, Jitter: func() float64 { return 1 }}
	var followed error
	for _, followed = range client.Ask(ctx, &chatv1.AskRequest{Text: "Why?"}).Events() {
	}
	if !strings.Contains(followed.Error(), "ask again with request_id") {
		t.Error(followed)
	}
	for number, err := range []error{single, followed} {
		var typed *Error
		asked := here.requests[number].(interface{ GetRequestId() string })
		if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &typed) || typed.RequestID != asked.GetRequestId() {
			t.Error(number, err)
		}
	}
}

func TestAnUploadIsSentAgainWhole(t *testing.T) {
	here, client := serve(t, Config{}, lost)
	content := bytes.Repeat([]byte("0123456789"), 100_000)
	_, err := client.Upload(t.Context(), bytes.NewReader(content), &knowledgev1.DocumentMetadata{SourceKey: "numbers.txt"})
	check(t, err)
	if !bytes.Equal(here.uploaded, content) || len(here.requests) != 2 || !proto.Equal(here.requests[0], here.requests[1]) {
		t.Fatal(len(here.uploaded), here.requests)
	}
	if _, err = client.Upload(t.Context(), bytes.NewReader(content), nil); err == nil {
		t.Fatal("bytes without a source_key")
	}
}

func TestAQuestionThatIsNotAcceptedYetCanBeStopped(t *testing.T) {
	here, client := serve(t, Config{})
	stream := client.Ask(t.Context(), &chatv1.AskRequest{Text: "Why?"})
	_, err := stream.Stop(t.Context())
	check(t, err)
	started := here.requests[0].(*chatv1.StartTurnRequest)
	if started.GetRequestId() != stream.RequestID() || here.requests[1].(*chatv1.CancelTurnRequest).GetName() != "turns/1" {
		t.Fatal(here.requests)
	}
}

func TestAClosedClientMakesNoCalls(t *testing.T) {
	here, client := serve(t, Config{})
	check(t, client.Close())
	_, err := client.Auth.GetMe(t.Context(), &authv1.GetMeRequest{})
	for _, of := range client.Ask(t.Context(), &chatv1.AskRequest{Text: "Why?"}).Events() {
		err = errors.Join(of, err)
	}
	if !errors.Is(err, ErrClosed) || len(here.requests) != 0 {
		t.Fatal(err)
	}
}

func TestAddresses(t *testing.T) {
	for text, wanted := range map[string]string{
		"http://127.0.0.1:8080":       "127.0.0.1:8080",
		"https://answers.example.org": "answers.example.org:443",
		"[::1]:9000":                  "[::1]:9000",
		"unix:/run/responsa.sock":     "unix:/run/responsa.sock",
		"localhost":                   "",
		"ftp://localhost:1":           "",
		"http://localhost/path":       "",
	} {
		target, tls, _, err := parseAddress(text)
		if target != wanted || tls != strings.HasPrefix(text, "https") || (err != nil) != (wanted == "") {
			t.Error(text, target, tls, err)
		}
	}
}
