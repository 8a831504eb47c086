package responsa

import (
	"context"
	"sync"
	"time"

	authv1 "responsa.example.org/contract/auth/v1"
)

// early is how long before its end an access token is refreshed.
const early = time.Minute

// Session keeps the tokens of a person who has signed in. Its Token is for Config.Token; clients may share it.
type Session struct {
	auth      authv1.AuthServiceClient
	mu        sync.Mutex
	tokens    *authv1.SessionTokens
	requestID string
}

// NewSession refreshes the tokens of Login through the Auth of a client, which needs no credential.
func NewSession(auth authv1.AuthServiceClient, tokens *authv1.SessionTokens) *Session {
	return &Session{auth: auth, tokens: tokens}
}

// Token is the newest access token. A refresh that failed is repeated with the same request_id, because another refresh would end the session.
func (s *Session) Token(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.requestID != "" || time.Until(s.tokens.GetAccessExpireTime().AsTime()) < early {
		if s.requestID == "" {
			s.requestID = NewRequestID()
		}
		refreshed, err := s.auth.RefreshToken(ctx, &authv1.RefreshTokenRequest{RefreshToken: s.tokens.GetRefreshToken(), RequestId: s.requestID})
		if err != nil {
			return "", err
		}
		s.tokens, s.requestID = refreshed.GetTokens(), ""
	}
	return s.tokens.GetAccessToken(), nil
}
