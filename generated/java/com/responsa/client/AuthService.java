// Code generated from generated/descriptor.binpb by `make generate`. DO NOT EDIT.
package com.responsa.client;

import com.google.protobuf.Empty;
import com.responsa.auth.v1.ApiKey;
import com.responsa.auth.v1.ChangePasswordRequest;
import com.responsa.auth.v1.ConfirmEmailRequest;
import com.responsa.auth.v1.CreateApiKeyRequest;
import com.responsa.auth.v1.CreateApiKeyResponse;
import com.responsa.auth.v1.CreateInvitationRequest;
import com.responsa.auth.v1.CreateInvitationResponse;
import com.responsa.auth.v1.CreateResetCodeRequest;
import com.responsa.auth.v1.CreateResetCodeResponse;
import com.responsa.auth.v1.CreateSessionCodeRequest;
import com.responsa.auth.v1.CreateSessionCodeResponse;
import com.responsa.auth.v1.DeleteMeRequest;
import com.responsa.auth.v1.DeletionReceipt;
import com.responsa.auth.v1.GetJwksRequest;
import com.responsa.auth.v1.GetJwksResponse;
import com.responsa.auth.v1.GetMeRequest;
import com.responsa.auth.v1.GetMyUsageRequest;
import com.responsa.auth.v1.ListApiKeysRequest;
import com.responsa.auth.v1.ListApiKeysResponse;
import com.responsa.auth.v1.ListIdentitiesRequest;
import com.responsa.auth.v1.ListIdentitiesResponse;
import com.responsa.auth.v1.ListInvitationsRequest;
import com.responsa.auth.v1.ListInvitationsResponse;
import com.responsa.auth.v1.ListSessionsRequest;
import com.responsa.auth.v1.ListSessionsResponse;
import com.responsa.auth.v1.ListSignInMethodsRequest;
import com.responsa.auth.v1.ListSignInMethodsResponse;
import com.responsa.auth.v1.LoginRequest;
import com.responsa.auth.v1.LoginResponse;
import com.responsa.auth.v1.LogoutRequest;
import com.responsa.auth.v1.QueryMyUsageRequest;
import com.responsa.auth.v1.QueryMyUsageResponse;
import com.responsa.auth.v1.RefreshTokenRequest;
import com.responsa.auth.v1.RefreshTokenResponse;
import com.responsa.auth.v1.RegisterRequest;
import com.responsa.auth.v1.RequestResetRequest;
import com.responsa.auth.v1.ResetPasswordRequest;
import com.responsa.auth.v1.RevokeApiKeyRequest;
import com.responsa.auth.v1.RevokeInvitationRequest;
import com.responsa.auth.v1.RevokeSessionsRequest;
import com.responsa.auth.v1.RevokeSessionsResponse;
import com.responsa.auth.v1.UnlinkIdentityRequest;
import com.responsa.auth.v1.UpdateMeRequest;
import com.responsa.auth.v1.User;
import com.responsa.auth.v1.UserUsage;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import java.time.Duration;

/**
 * AuthService signs users in, and manages the caller's account and credentials. ListSignInMethods, Login, RefreshToken, Logout,
 * Register, ConfirmEmail, RequestReset, ResetPassword and GetJwks need no credential.
 */
public final class AuthService {
    static final MethodDescriptor<ListSignInMethodsRequest, ListSignInMethodsResponse> LIST_SIGN_IN_METHODS = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/ListSignInMethods",
            ListSignInMethodsRequest.getDefaultInstance(), ListSignInMethodsResponse.getDefaultInstance());
    static final MethodDescriptor<LoginRequest, LoginResponse> LOGIN = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/Login",
            LoginRequest.getDefaultInstance(), LoginResponse.getDefaultInstance());
    static final MethodDescriptor<RefreshTokenRequest, RefreshTokenResponse> REFRESH_TOKEN = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/RefreshToken",
            RefreshTokenRequest.getDefaultInstance(), RefreshTokenResponse.getDefaultInstance());
    static final MethodDescriptor<LogoutRequest, Empty> LOGOUT = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/Logout",
            LogoutRequest.getDefaultInstance(), Empty.getDefaultInstance());
    static final MethodDescriptor<GetJwksRequest, GetJwksResponse> GET_JWKS = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/GetJwks",
            GetJwksRequest.getDefaultInstance(), GetJwksResponse.getDefaultInstance());
    static final MethodDescriptor<ListSessionsRequest, ListSessionsResponse> LIST_SESSIONS = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/ListSessions",
            ListSessionsRequest.getDefaultInstance(), ListSessionsResponse.getDefaultInstance());
    static final MethodDescriptor<RevokeSessionsRequest, RevokeSessionsResponse> REVOKE_SESSIONS = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/RevokeSessions",
            RevokeSessionsRequest.getDefaultInstance(), RevokeSessionsResponse.getDefaultInstance());
    static final MethodDescriptor<ChangePasswordRequest, Empty> CHANGE_PASSWORD = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/ChangePassword",
            ChangePasswordRequest.getDefaultInstance(), Empty.getDefaultInstance());
    static final MethodDescriptor<UpdateMeRequest, User> UPDATE_ME = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/UpdateMe",
            UpdateMeRequest.getDefaultInstance(), User.getDefaultInstance());
    static final MethodDescriptor<DeleteMeRequest, DeletionReceipt> DELETE_ME = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/DeleteMe",
            DeleteMeRequest.getDefaultInstance(), DeletionReceipt.getDefaultInstance());
    static final MethodDescriptor<ListIdentitiesRequest, ListIdentitiesResponse> LIST_IDENTITIES = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/ListIdentities",
            ListIdentitiesRequest.getDefaultInstance(), ListIdentitiesResponse.getDefaultInstance());
    static final MethodDescriptor<UnlinkIdentityRequest, Empty> UNLINK_IDENTITY = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/UnlinkIdentity",
            UnlinkIdentityRequest.getDefaultInstance(), Empty.getDefaultInstance());
    static final MethodDescriptor<CreateInvitationRequest, CreateInvitationResponse> CREATE_INVITATION = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/CreateInvitation",
            CreateInvitationRequest.getDefaultInstance(), CreateInvitationResponse.getDefaultInstance());
    static final MethodDescriptor<ListInvitationsRequest, ListInvitationsResponse> LIST_INVITATIONS = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/ListInvitations",
            ListInvitationsRequest.getDefaultInstance(), ListInvitationsResponse.getDefaultInstance());
    static final MethodDescriptor<RevokeInvitationRequest, Empty> REVOKE_INVITATION = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/RevokeInvitation",
            RevokeInvitationRequest.getDefaultInstance(), Empty.getDefaultInstance());
    static final MethodDescriptor<RegisterRequest, Empty> REGISTER = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/Register",
            RegisterRequest.getDefaultInstance(), Empty.getDefaultInstance());
    static final MethodDescriptor<ConfirmEmailRequest, Empty> CONFIRM_EMAIL = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/ConfirmEmail",
            ConfirmEmailRequest.getDefaultInstance(), Empty.getDefaultInstance());
    static final MethodDescriptor<RequestResetRequest, Empty> REQUEST_RESET = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/RequestReset",
            RequestResetRequest.getDefaultInstance(), Empty.getDefaultInstance());
    static final MethodDescriptor<CreateResetCodeRequest, CreateResetCodeResponse> CREATE_RESET_CODE = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/CreateResetCode",
            CreateResetCodeRequest.getDefaultInstance(), CreateResetCodeResponse.getDefaultInstance());
    static final MethodDescriptor<ResetPasswordRequest, Empty> RESET_PASSWORD = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/ResetPassword",
            ResetPasswordRequest.getDefaultInstance(), Empty.getDefaultInstance());
    static final MethodDescriptor<GetMeRequest, User> GET_ME = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/GetMe",
            GetMeRequest.getDefaultInstance(), User.getDefaultInstance());
    static final MethodDescriptor<GetMyUsageRequest, UserUsage> GET_MY_USAGE = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/GetMyUsage",
            GetMyUsageRequest.getDefaultInstance(), UserUsage.getDefaultInstance());
    static final MethodDescriptor<QueryMyUsageRequest, QueryMyUsageResponse> QUERY_MY_USAGE = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/QueryMyUsage",
            QueryMyUsageRequest.getDefaultInstance(), QueryMyUsageResponse.getDefaultInstance());
    static final MethodDescriptor<CreateSessionCodeRequest, CreateSessionCodeResponse> CREATE_SESSION_CODE = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/CreateSessionCode",
            CreateSessionCodeRequest.getDefaultInstance(), CreateSessionCodeResponse.getDefaultInstance());
    static final MethodDescriptor<CreateApiKeyRequest, CreateApiKeyResponse> CREATE_API_KEY = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/CreateApiKey",
            CreateApiKeyRequest.getDefaultInstance(), CreateApiKeyResponse.getDefaultInstance());
    static final MethodDescriptor<ListApiKeysRequest, ListApiKeysResponse> LIST_API_KEYS = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/ListApiKeys",
            ListApiKeysRequest.getDefaultInstance(), ListApiKeysResponse.getDefaultInstance());
    static final MethodDescriptor<RevokeApiKeyRequest, ApiKey> REVOKE_API_KEY = Calls.method(
            MethodType.UNARY, "responsa.auth.v1.AuthService/RevokeApiKey",
            RevokeApiKeyRequest.getDefaultInstance(), ApiKey.getDefaultInstance());

    private final Calls calls;
    private final Duration timeout;

    AuthService(Calls calls, Duration timeout) {
        this.calls = calls;
        this.timeout = timeout;
    }

    /** The same calls, with this time for each instead of the client's. */
    public AuthService withDeadlineAfter(Duration timeout) {
        return new AuthService(calls, timeout);
    }

    /**
     * ListSignInMethods shows how people sign in to a tenant and who may register. The response lists the tenant's OpenID Connect
     * providers on one page, ordered by their ids. Passwords always work for users who have one. A tenant that does not exist gets the
     * same reply as a tenant without providers.
     *
     * <p>Errors: INVALID_FIELD.
     */
    public ListSignInMethodsResponse listSignInMethods(ListSignInMethodsRequest request) {
        return calls.unary(LIST_SIGN_IN_METHODS, request, true, timeout);
    }

    /**
     * Login begins a session with an e-mail address and a password. Neither the reply nor the response time shows whether the account
     * exists. Failed attempts are counted for each account (tenant and e-mail address) and for each network address. Beyond a limit, the
     * server refuses attempts for a while, even with the right password.
     *
     * <p>Errors: SIGN_IN_FAILED, TOO_MANY_ATTEMPTS, OVERLOADED.
     */
    public LoginResponse login(LoginRequest request) {
        return calls.unary(LOGIN, request, false, timeout);
    }

    /**
     * RefreshToken exchanges a refresh token for a new access token and the next refresh token. A refresh token works once. If the reply
     * is lost, a repeated call with the same refresh token and the same request_id gets the same reply for 60 s, unless the next refresh
     * token was used. If neither call has a request_id, the repeated call gets the same reply for 5 s, and only from the same network
     * address (IPv6: the same /64). In these 5 s, a thief at this address gets the tokens, too, and is noticed only when the next
     * refresh token is used twice; with a request_id, the thief is noticed at once. Any other second use of a refresh token ends its
     * session on all servers within a second, because the token may have been stolen.
     *
     * <p>Errors: TOKEN_INVALID.
     */
    public RefreshTokenResponse refreshToken(RefreshTokenRequest request) {
        return calls.unary(REFRESH_TOKEN, request, true, timeout);
    }

    /**
     * Logout ends the session of a refresh token, or, without one, the session of the access token with which the call is made. With a
     * refresh token, the call succeeds whether or not the session exists. Errors without a refresh token: INVALID_FIELD (no access token
     * either), TOKEN_INVALID, USER_DISABLED, TENANT_SUSPENDED.
     */
    public void logout(LogoutRequest request) {
        calls.unary(LOGOUT, request, true, timeout);
    }

    /**
     * GetJwks returns the public keys that verify access tokens (RFC 7517). The gateway serves the same keys at /.well-known/jwks.json.
     *
     * <p>Errors: PART_UNAVAILABLE.
     */
    public GetJwksResponse getJwks(GetJwksRequest request) {
        return calls.unary(GET_JWKS, request, true, timeout);
    }

    /**
     * ListSessions lists the caller's sessions that have not ended, newest first by default.
     *
     * <p>Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListSessionsResponse listSessions(ListSessionsRequest request) {
        return calls.unary(LIST_SESSIONS, request, true, timeout);
    }

    /**
     * RevokeSessions ends sessions of the caller on all servers within a second, open streams included. Names of sessions that do not
     * exist are ignored.
     *
     * <p>Errors: INVALID_FIELD.
     */
    public RevokeSessionsResponse revokeSessions(RevokeSessionsRequest request) {
        return calls.unary(REVOKE_SESSIONS, request, true, timeout);
    }

    /**
     * ChangePassword sets the caller's password, and ends the caller's other sessions. The call needs the current password. If no
     * password is set, it needs a session that began in the last ten minutes. Failed attempts count like failed attempts of Login.
     *
     * <p>Errors: INVALID_FIELD, SIGN_IN_FAILED, SIGN_IN_REQUIRED, PASSWORD_NOT_USABLE, TOO_MANY_ATTEMPTS, OVERLOADED.
     */
    public void changePassword(ChangePasswordRequest request) {
        calls.unary(CHANGE_PASSWORD, request, false, timeout);
    }

    /**
     * UpdateMe changes the fields of the caller that the mask names: display_name, email. A new e-mail address needs a session that
     * began in the last ten minutes, and a mail server. The server mails a code to the new address; ConfirmEmail with this code changes
     * the address. The reply still has the old address. The reply does not show whether another user has the new address. A caller who
     * already has an address also needs a password, because ConfirmEmail asks for it.
     *
     * <p>Errors: INVALID_FIELD, UPDATE_MASK_INVALID, ETAG_MISMATCH, SIGN_IN_REQUIRED, PASSWORD_NOT_USABLE, MAIL_NOT_CONFIGURED,
     * TOO_MANY_ATTEMPTS.
     */
    public User updateMe(UpdateMeRequest request) {
        return calls.unary(UPDATE_ME, request, !Calls.hasEtag(request), timeout);
    }

    /**
     * DeleteMe deletes the caller with all that belongs to the caller: conversations with their turns and messages, documents,
     * collections, keys, sessions, codes, invitations and operations. Running turns are cancelled first. Answers of other users that
     * quote one of the documents are withdrawn: they become refusals with the reason SOURCE_ERASED. The audit log keeps the caller's
     * UUID, but not the caller's network addresses. The call needs a session that began in the last ten minutes; an API key is not
     * enough. Afterwards, no credential of the caller is valid. If the call is interrupted, or there is much to delete, the server
     * continues after the call. The last administrator who is not disabled cannot be deleted.
     *
     * <p>Errors: SIGN_IN_REQUIRED, LAST_ADMINISTRATOR, LAST_OWNER, INVALID_FIELD (hand_over_to), COLLECTION_NOT_EMPTY (without
     * hand_over_to, a collection of the caller holds documents of other users).
     */
    public DeletionReceipt deleteMe(DeleteMeRequest request) {
        return calls.unary(DELETE_ME, request, false, timeout);
    }

    /**
     * ListIdentities lists the caller's identities at OpenID Connect providers, on one page, oldest first. The caller can sign in with
     * each of these identities. A browser connects another identity with POST /v1/oidc/{id}:start and {@code "link": true}.
     */
    public ListIdentitiesResponse listIdentities(ListIdentitiesRequest request) {
        return calls.unary(LIST_IDENTITIES, request, true, timeout);
    }

    /**
     * UnlinkIdentity removes an identity from the caller: nobody can sign in with it any more. Open sessions continue. The call needs a
     * session that began in the last ten minutes. The last way to sign in cannot be removed: a caller without a password must have
     * another identity, at a provider that the settings still declare.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, SIGN_IN_REQUIRED, LAST_SIGN_IN.
     */
    public void unlinkIdentity(UnlinkIdentityRequest request) {
        calls.unary(UNLINK_IDENTITY, request, false, timeout);
    }

    /**
     * CreateInvitation creates a code with which one person can register in the caller's tenant. Only administrators may make this call.
     * The server keeps no copy of the code. The call has no request_id: if a code is lost, it expires, and another call creates a new
     * code. If the caller invites an administrator and uses a session, the sign-in of this session must be at most ten minutes old.
     *
     * <p>Errors: INVALID_FIELD, REGISTRATION_CLOSED, SIGN_IN_REQUIRED, RESOURCE_NOT_FOUND (a group).
     */
    public CreateInvitationResponse createInvitation(CreateInvitationRequest request) {
        return calls.unary(CREATE_INVITATION, request, false, timeout);
    }

    /**
     * ListInvitations lists the tenant's invitations that are neither used nor expired, newest first by default. Only administrators may
     * make this call.
     *
     * <p>Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListInvitationsResponse listInvitations(ListInvitationsRequest request) {
        return calls.unary(LIST_INVITATIONS, request, true, timeout);
    }

    /**
     * RevokeInvitation ends an invitation: nobody can register with its code afterwards. Only administrators may make this call. If
     * somebody has already registered with the code, the account stays.
     *
     * <p>Errors: RESOURCE_NOT_FOUND (also for an invitation that was used, has expired or was revoked before).
     */
    public void revokeInvitation(RevokeInvitationRequest request) {
        calls.unary(REVOKE_INVITATION, request, true, timeout);
    }

    /**
     * Register creates an account, with an invitation or, where the settings allow it, without one. If the e-mail address is taken, the
     * reply is the same as for a free address. The invitation is used up, but no account is created. If the server sends mails, it mails
     * a code to the address. When ConfirmEmail is called with this code, the account becomes usable, and the invitation is used up. If
     * an invitation names the address, the registration needs no confirmation. Afterwards, the person signs in with Login.
     *
     * <p>Errors: INVALID_FIELD, REGISTRATION_CLOSED, CODE_INVALID, OVERLOADED, TOO_MANY_ATTEMPTS.
     */
    public void register(RegisterRequest request) {
        calls.unary(REGISTER, request, false, timeout);
    }

    /**
     * ConfirmEmail confirms an e-mail address with the code that was mailed to it. The code works once, within 24 hours. The call
     * creates the registered account, or changes the address of a user. The call also needs a password: for a new account, the password
     * of the registration; for a new address, the password of the account. Therefore, a person who can read the mails but does not know
     * the password cannot confirm the address. Nobody gets an account whose password a stranger knows. If an account without a password
     * gets its first address, the call needs no password. A wrong password does not use up the code, and counts like a failed Login.
     *
     * <p>Errors: CODE_INVALID (also if the address was taken in the meantime), INVALID_FIELD (the password is missing), SIGN_IN_FAILED,
     * TOO_MANY_ATTEMPTS, OVERLOADED.
     */
    public void confirmEmail(ConfirmEmailRequest request) {
        calls.unary(CONFIRM_EMAIL, request, false, timeout);
    }

    /**
     * RequestReset mails a code for ResetPassword to the address of an account. The code works once, within 30 minutes. Neither the
     * reply nor the response time shows whether the account exists. Only a few mails are sent to an address in a quarter of an hour.
     *
     * <p>Errors: INVALID_FIELD, MAIL_NOT_CONFIGURED, TOO_MANY_ATTEMPTS.
     */
    public void requestReset(RequestResetRequest request) {
        calls.unary(REQUEST_RESET, request, false, timeout);
    }

    /**
     * CreateResetCode creates a code with which a user of the caller's tenant sets a new password. The code works once, within 30
     * minutes. Only administrators may make this call; they hand the code to the user. If the caller uses a session, its sign-in must be
     * at most ten minutes old.
     *
     * <p>Errors: RESOURCE_NOT_FOUND, PASSWORD_NOT_USABLE, SIGN_IN_REQUIRED.
     */
    public CreateResetCodeResponse createResetCode(CreateResetCodeRequest request) {
        return calls.unary(CREATE_RESET_CODE, request, false, timeout);
    }

    /**
     * ResetPassword sets a password with a reset code, and ends all sessions of the user. A refused password does not use up the code.
     *
     * <p>Errors: INVALID_FIELD, CODE_INVALID, OVERLOADED.
     */
    public void resetPassword(ResetPasswordRequest request) {
        calls.unary(RESET_PASSWORD, request, false, timeout);
    }

    /**
     * GetMe returns the caller.
     */
    public User getMe(GetMeRequest request) {
        return calls.unary(GET_ME, request, true, timeout);
    }

    /**
     * GetMyUsage returns what the caller's questions have used and reserved in the current day and month, and what the caller has
     * stored. It also returns the limits that apply to the caller's use and storage.
     */
    public UserUsage getMyUsage(GetMyUsageRequest request) {
        return calls.unary(GET_MY_USAGE, request, true, timeout);
    }

    /**
     * QueryMyUsage counts what the caller has asked, searched and uploaded, by period and group, ordered by time. The call returns at
     * most 10,000 rows.
     *
     * <p>Errors: INVALID_FIELD (the time is empty, or the report would have more rows).
     */
    public QueryMyUsageResponse queryMyUsage(QueryMyUsageRequest request) {
        return calls.unary(QUERY_MY_USAGE, request, true, timeout);
    }

    /**
     * CreateSessionCode creates a code that a browser exchanges for a session of the caller (POST /v1/sessions). The code works once,
     * within ten minutes. A code that is made in a session ends with that session. The new session has the same sign-in time as the
     * session that made the code. This matters for calls that need a recent sign-in. The call has no request_id: if a code is lost, it
     * expires, and another call creates a new code.
     *
     * <p>Errors: ROLE_REQUIRED (services have no sessions).
     */
    public CreateSessionCodeResponse createSessionCode(CreateSessionCodeRequest request) {
        return calls.unary(CREATE_SESSION_CODE, request, false, timeout);
    }

    /**
     * CreateApiKey creates a key for the caller. If the caller uses a session, its sign-in must be at most ten minutes old. Only this
     * response contains the secret, because the server keeps no copy. A repeated call with the same request_id returns the key without
     * its secret. To replace a lost secret, revoke the key and create another key. A key that is created with another key never outlives
     * that key.
     *
     * <p>Errors: INVALID_FIELD, RESOURCE_NOT_FOUND (the agent), REQUEST_ID_REUSED, SIGN_IN_REQUIRED, LIMIT_REACHED (too many keys that
     * are neither revoked nor expired).
     */
    public CreateApiKeyResponse createApiKey(CreateApiKeyRequest request) {
        return calls.unary(CREATE_API_KEY, request, false, timeout);
    }

    /**
     * ListApiKeys lists the caller's keys, newest first by default.
     *
     * <p>Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
     */
    public ListApiKeysResponse listApiKeys(ListApiKeysRequest request) {
        return calls.unary(LIST_API_KEYS, request, true, timeout);
    }

    /**
     * RevokeApiKey revokes one of the caller's keys at once, together with all keys that were created with it and all sessions that
     * these keys began. Revoking a key again changes nothing.
     *
     * <p>Errors: RESOURCE_NOT_FOUND.
     */
    public ApiKey revokeApiKey(RevokeApiKeyRequest request) {
        return calls.unary(REVOKE_API_KEY, request, true, timeout);
    }
}
