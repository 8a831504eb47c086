package com.responsa.client;

import com.responsa.auth.v1.RefreshTokenRequest;
import com.responsa.auth.v1.SessionTokens;
import java.time.Duration;
import java.time.Instant;
import java.util.UUID;
import java.util.function.Supplier;

/** Keeps the tokens of a person who has signed in, for {@link ResponsaClient.Builder#token}; clients may share it. */
public final class Session implements Supplier<String> {
    /** How long before its end an access token is refreshed. */
    private static final Duration EARLY = Duration.ofMinutes(1);

    private final AuthService auth;
    private SessionTokens tokens;
    private String requestId;

    /** Refreshes the tokens of Login through the {@code auth()} of a client, which needs no credential. */
    public Session(AuthService auth, SessionTokens tokens) {
        this.auth = auth;
        this.tokens = tokens;
    }

    /** The newest access token. A refresh that failed is repeated with the same request_id, because another refresh would end the session. */
    @Override
    public synchronized String get() {
        Instant end = Instant.ofEpochSecond(tokens.getAccessExpireTime().getSeconds());
        if (requestId != null || Instant.now().plus(EARLY).isAfter(end)) {
            if (requestId == null) {
                requestId = UUID.randomUUID().toString();
            }
            var request = RefreshTokenRequest.newBuilder().setRefreshToken(tokens.getRefreshToken()).setRequestId(requestId).build();
            tokens = auth.refreshToken(request).getTokens();
            requestId = null;
        }
        return tokens.getAccessToken();
    }
}
