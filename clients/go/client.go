// Package responsa asks a Responsa server questions and follows their answers: over lost connections and restarts of the server, and from any other process.
//
// Requests and responses are the contract's messages (responsa.example.org/contract). Clients and streams may be used by several goroutines.
package responsa

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	adminv1 "responsa.example.org/contract/admin/v1"
	authv1 "responsa.example.org/contract/auth/v1"
	chatv1 "responsa.example.org/contract/chat/v1"
	knowledgev1 "responsa.example.org/contract/knowledge/v1"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	// DefaultURL is the address of a server on this machine.
	DefaultURL = "http://127.0.0.1:8080"

	longestWait     = 2 * time.Minute // for a limit; if the server asks for more, the caller gets the error
	maxReceiveBytes = 16 << 20
	streamsPerLine  = 90 // servers and proxies usually allow 100 per connection; another stream would wait without an error
)

// Config is how a client connects. The zero value of each field means its default.
type Config struct {
	// URL is http://host:port, https://host:port, host:port (plain text) or unix:/path/of/socket; DefaultURL by default.
	URL string
	// APIKey authenticates every call. Token returns the newest access token instead: the client calls it before each call, and once more if the server refuses a token.
	APIKey string
	Token  func(context.Context) (string, error)
	// OnBehalfOf is the user, users/{uuid}, for whom a service makes its calls.
	OnBehalfOf string
	// Timeout limits a single call, with its repetitions, if its context has no deadline; a minute by default. Streams and uploads have no limit.
	Timeout time.Duration
	// Silence is the time without a frame after which a stream is lost; 45 seconds by default. The server sends a heartbeat every 15 seconds.
	Silence time.Duration
	// Patience is the time without a frame, counted from the first failure, after which a stream gives up; five minutes by default.
	Patience time.Duration
	Backoff  Backoff
	// DialOptions come after the client's own, such as TLS credentials or a stats handler for traces.
	DialOptions []grpc.DialOption
}

// Backoff waits between attempts: the n-th wait is random between 0 and Base·2ⁿ⁻¹, at most Cap, and never shorter than the server asks.
type Backoff struct {
	// Attempts is the number of repetitions of a single call; 12 by default, which takes longer than a restart of the server. Negative for none.
	Attempts int
	// Base is 200 ms and Cap is 5 s by default.
	Base, Cap time.Duration
	// Jitter returns numbers from 0 to 1.
	Jitter func() float64

	used int
}

func (b *Backoff) pause(least time.Duration) time.Duration {
	longest := min(float64(b.Cap), float64(b.Base)*float64(uint64(1)<<min(b.used, 32)))
	b.used++
	return max(time.Duration(longest*b.Jitter()), least)
}

func (b *Backoff) next(least time.Duration) (time.Duration, bool) {
	if b.used >= b.Attempts {
		return 0, false
	}
	return b.pause(least), true
}

// Client calls one server. Its services have all methods of the contract; every error is an *Error. A call that may be repeated is repeated after a lost response.
type Client struct {
	Chat       chatv1.ChatServiceClient
	Knowledge  knowledgev1.KnowledgeServiceClient
	Auth       authv1.AuthServiceClient
	Admin      adminv1.AdminServiceClient
	Operations longrunningpb.OperationsClient

	config  Config
	target  string
	dial    []grpc.DialOption
	reached atomic.Bool // before the server has answered, a call that cannot connect is not repeated

	mu     sync.Mutex
	closed bool
	lines  []*line // the first one also carries all calls that are not turns' streams
}

// line is a connection. A retired one gets no more streams.
type line struct {
	conn    *grpc.ClientConn
	streams int
	retired bool
}

// New makes a client, which connects at its first call.
func New(config Config) (*Client, error) {
	config.URL = orDefault(config.URL, DefaultURL)
	config.Timeout = orDefault(config.Timeout, time.Minute)
	config.Silence = orDefault(config.Silence, 45*time.Second)
	config.Patience = orDefault(config.Patience, 5*time.Minute)
	config.Backoff.Attempts = orDefault(config.Backoff.Attempts, 12)
	config.Backoff.Base = orDefault(config.Backoff.Base, 200*time.Millisecond)
	config.Backoff.Cap = orDefault(config.Backoff.Cap, 5*time.Second)
	if config.Backoff.Jitter == nil {
		config.Backoff.Jitter = mathrand.Float64
	}
	if strings.ContainsFunc(config.APIKey, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("the API key contains spaces, line breaks or characters beyond ASCII")
	}
	target, tls, local, err := parseAddress(config.URL)
	if err != nil {
		return nil, err
	}
	made := &Client{config: config, target: target}
	transport := insecure.NewCredentials()
	if tls {
		transport = credentials.NewTLS(nil)
	}
	reconnect := backoff.DefaultConfig
	reconnect.BaseDelay, reconnect.MaxDelay = 100*time.Millisecond, 2*time.Second
	made.dial = []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: 5 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceiveBytes)),
		grpc.WithDisableRetry(), // the client knows which calls may be repeated
		grpc.WithUnaryInterceptor(made.unary),
		grpc.WithStreamInterceptor(made.stream),
	}
	if local {
		made.dial = append(made.dial, grpc.WithNoProxy())
	}
	made.dial = append(made.dial, config.DialOptions...)
	first, err := grpc.NewClient(target, made.dial...)
	if err != nil {
		return nil, err
	}
	made.lines = []*line{{conn: first}}
	made.Chat = chatv1.NewChatServiceClient(first)
	made.Knowledge = knowledgev1.NewKnowledgeServiceClient(first)
	made.Auth = authv1.NewAuthServiceClient(first)
	made.Admin = adminv1.NewAdminServiceClient(first)
	made.Operations = longrunningpb.NewOperationsClient(first)
	return made, nil
}

// Close ends all calls and closes the connections. Turns continue.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	var failed error
	for _, line := range c.lines {
		failed = errors.Join(failed, line.conn.Close())
	}
	c.lines = nil
	return failed
}

func (c *Client) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// take returns a connection for one more stream, for give.
func (c *Client) take() (*line, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed()
	}
	for _, line := range c.lines {
		if !line.retired && line.streams < streamsPerLine {
			line.streams++
			return line, nil
		}
	}
	conn, err := grpc.NewClient(c.target, c.dial...)
	if err != nil {
		return nil, err
	}
	made := &line{conn: conn, streams: 1}
	c.lines = append(c.lines, made)
	return made, nil
}

func (c *Client) give(used *line, retire bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	used.streams--
	used.retired = used.retired || retire
	for i, line := range c.lines {
		if i > 0 && line == used && line.retired && line.streams == 0 {
			c.lines = append(c.lines[:i:i], c.lines[i+1:]...)
			_ = line.conn.Close()
			return
		}
	}
}

// repeat is when a call may be made again after a lost response.
type repeat int

const (
	always repeat = iota + 1
	withoutEtag
)

func (c *Client) unary(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	if _, set := ctx.Deadline(); !set {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.config.Timeout)
		defer cancel()
	}
	asked := withRequestID(request.(proto.Message))
	rule := repeats[method]
	repeatable := rule == always || rule == withoutEtag && !hasEtag(asked.ProtoReflect()) || strings.HasPrefix(method, "/google.longrunning.")
	err := c.repeat(ctx, repeatable, func() error {
		signed, err := c.signed(ctx)
		if err != nil {
			return err
		}
		return invoke(signed, method, asked, reply, conn, options...)
	})
	var failure *Error
	if named, ok := asked.(interface{ GetRequestId() string }); ok && errors.As(err, &failure) {
		failure.RequestID = named.GetRequestId()
	}
	return err
}

// repeat makes a call, and makes it again as long as this may help.
func (c *Client) repeat(ctx context.Context, repeatable bool, attempt func() error) error {
	backoff, renewed := c.config.Backoff, false
	for {
		if c.isClosed() {
			return errClosed()
		}
		err := attempt()
		if err == nil {
			c.reached.Store(true)
			return nil
		}
		failure := c.failure(ctx, err)
		if ctx.Err() != nil || c.isClosed() {
			return failure
		}
		if c.mayRenew(failure) && !renewed {
			renewed = true
			continue
		}
		if !repeatable || !c.mayRepeat(failure) {
			return failure
		}
		wait, more := backoff.next(failure.RetryAfter)
		if !more || !allows(ctx, wait) || sleep(ctx, wait) != nil {
			return failure
		}
	}
}

func (c *Client) stream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	signed, err := c.signed(ctx)
	if err != nil {
		return nil, c.failure(ctx, err)
	}
	opened, err := open(signed, desc, conn, method, options...)
	if err != nil {
		return nil, c.failure(ctx, err)
	}
	return typedStream{opened, c}, nil
}

// typedStream is a stream whose errors are typed.
type typedStream struct {
	grpc.ClientStream
	client *Client
}

func (s typedStream) RecvMsg(message any) error {
	err := s.ClientStream.RecvMsg(message)
	if err == nil || err == io.EOF {
		return err
	}
	return s.client.failure(s.Context(), err)
}

// signed is the context of one call, with its credential.
func (c *Client) signed(ctx context.Context) (context.Context, error) {
	token := c.config.APIKey
	if c.config.Token != nil {
		var err error
		if token, err = c.config.Token(ctx); err != nil {
			return nil, err
		}
	}
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	if c.config.OnBehalfOf != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "responsa-on-behalf-of", c.config.OnBehalfOf)
	}
	return ctx, nil
}

// failure is the typed error of a failed attempt.
func (c *Client) failure(ctx context.Context, err error) *Error {
	made := errorOf(ctx, err)
	switch {
	case made.Reason != "":
		c.reached.Store(true)
	case c.isClosed():
		return errClosed()
	case c.reached.Load() || ctx.Err() != nil || made.cause != nil:
	case made.neverConnected():
		return newError(made.Code, ErrUnreachable, "No server answers at %s (%s).", c.config.URL, lastCause(made.Message))
	case made.Code == codes.Unimplemented:
		return newError(made.Code, ErrUnreachable, "The server at %s is not a Responsa server.", c.config.URL)
	}
	return made
}

func (c *Client) mayRepeat(failure *Error) bool {
	return failure.mayPass() && (c.reached.Load() || !failure.neverConnected())
}

func (c *Client) mayRenew(failure *Error) bool {
	return failure.Reason == "TOKEN_INVALID" && c.config.Token != nil
}

func errClosed() *Error { return newError(codes.Canceled, ErrClosed, "This client is closed.") }

// NewRequestID is a random UUID.
func NewRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// withRequestID is the request with a request_id, if it has this field.
func withRequestID[M proto.Message](request M) M {
	field := request.ProtoReflect().Descriptor().Fields().ByName("request_id")
	if field == nil || request.ProtoReflect().Get(field).String() != "" {
		return request
	}
	filled := proto.CloneOf(request)
	filled.ProtoReflect().Set(field, protoreflect.ValueOfString(NewRequestID()))
	return filled
}

// hasEtag is whether a request, or the resource in it, names the version that it changes. A repetition would then fail.
func hasEtag(message protoreflect.Message) bool {
	found := false
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if field.Message() != nil && !field.IsList() && !field.IsMap() {
			etag := field.Message().Fields().ByName("etag")
			found = found || etag != nil && value.Message().Has(etag)
		}
		found = found || field.Name() == "etag"
		return !found
	})
	return found
}

// parseAddress is a server's address in gRPC's form, whether it uses TLS, and whether it is on this machine.
func parseAddress(text string) (target string, tls, local bool, err error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok && strings.Trim(path, "/") != "" {
		return text, false, true, nil
	}
	wrong := fmt.Errorf("%q is not the address of a server; write http://host:port or https://host:port", text)
	full := text
	if !strings.Contains(text, "://") {
		full = "http://" + text
	}
	parts, err := url.Parse(full)
	if err != nil || parts.Hostname() == "" || strings.Trim(parts.Path, "/") != "" || parts.RawQuery != "" || parts.Fragment != "" || parts.User != nil {
		return "", false, false, wrong
	}
	port := parts.Port()
	if port == "" {
		if port = map[string]string{"http": "80", "https": "443"}[parts.Scheme]; full != text {
			return "", false, false, fmt.Errorf("%q has no port; write %s:8080 or http://%s", text, text, text)
		}
	}
	if parts.Scheme != "http" && parts.Scheme != "https" {
		return "", false, false, wrong
	}
	address := net.ParseIP(parts.Hostname())
	local = parts.Hostname() == "localhost" || address != nil && address.IsLoopback()
	return net.JoinHostPort(parts.Hostname(), port), parts.Scheme == "https", local, nil
}

func orDefault[T comparable](value, standard T) T {
	var zero T
	if value == zero {
		return standard
	}
	return value
}

func allows(ctx context.Context, wait time.Duration) bool {
	deadline, set := ctx.Deadline()
	return !set || time.Until(deadline) > wait
}

func sleep(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
