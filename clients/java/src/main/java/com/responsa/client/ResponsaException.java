package com.responsa.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import com.responsa.chat.v1.CancelCause;
import com.responsa.chat.v1.TurnEvent;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.Status.Code;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.io.FileNotFoundException;
import java.net.ConnectException;
import java.net.NoRouteToHostException;
import java.net.UnknownHostException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import javax.net.ssl.SSLException;

/** The error of every call. */
public final class ResponsaException extends StatusRuntimeException {
    private static final long serialVersionUID = 1;

    /** Where an error comes from. */
    public enum Kind {
        /** The server: the error has a reason of the contract. */
        SERVER,
        /** A proxy, or the network. */
        NETWORK,
        /** No Responsa server answers at the address. */
        UNREACHABLE,
        /** A turn's stream was interrupted, and resuming did not reach the turn's end in time. The turn may continue. */
        CUT,
        /** The server's data contradicts itself, such as an answer that does not match its SHA-256. Do not trust any of it. */
        BROKEN,
        /** The caller's deadline has passed, whether the client or the server saw it first. An accepted turn continues. */
        DEADLINE,
        /** The caller's thread was interrupted, or its context was cancelled; an accepted turn continues. Of {@link #ofTurn}: the turn itself was cancelled. */
        CANCELLED,
        /** The client is closed. */
        CLOSED
    }

    /** A field of the request that breaks a rule: the field's path, the rule's id, and the mistake with its remedy. */
    public record Violation(String field, String rule, String description) {}

    /** For a limit. If the server asks for more, the caller gets the error. */
    private static final Duration LONGEST_WAIT = Duration.ofMinutes(2);

    private static final int LONGEST_WORDS = 100;

    // If a server behind a proxy is killed, the client sees one of these codes, but rarely UNAVAILABLE.
    private static final Set<Code> CUT_CODES = Set.of(Code.UNAVAILABLE, Code.INTERNAL, Code.UNKNOWN, Code.ABORTED, Code.CANCELLED);

    private static final Map<Code, String> REMEDIES = Map.ofEntries(
            Map.entry(Code.INVALID_ARGUMENT, "Correct the request; repeating it does not help."),
            Map.entry(Code.OUT_OF_RANGE, "Correct the request; repeating it does not help."),
            Map.entry(Code.UNAUTHENTICATED, "Use a valid API key, or sign in with the right e-mail address and password."),
            Map.entry(Code.PERMISSION_DENIED, "Call with the credential of a user who has this right."),
            Map.entry(Code.NOT_FOUND, "Check the name. What belongs to another user is not found either."),
            Map.entry(Code.ALREADY_EXISTS, "Choose another name or request_id."),
            Map.entry(Code.ABORTED, "Read the resource again or wait until it is free, then repeat the call."),
            Map.entry(Code.FAILED_PRECONDITION, "Change what the message names, then repeat the call."),
            Map.entry(Code.RESOURCE_EXHAUSTED, "Send less or make room, then repeat the call."),
            Map.entry(Code.UNAVAILABLE, "Repeat the call."),
            Map.entry(Code.DEADLINE_EXCEEDED, "Allow more time. An accepted turn continues: resume it, or ask again with the error's request_id."),
            Map.entry(Code.CANCELLED, "Repeat what was cancelled if you still want its result."));

    private final Kind kind;
    private String reason = "";
    private Map<String, String> metadata = Map.of();
    private final List<Violation> violations = new ArrayList<>();
    private Duration retryAfter;
    private String turn = "";
    private long afterSeq;
    private String requestId = "";

    ResponsaException(Kind kind, Code code, String message, Throwable cause) {
        super(code.toStatus().withDescription(message).withCause(cause));
        this.kind = kind;
    }

    private ResponsaException(Status status, Metadata trailers, List<Any> details) {
        super(status, trailers);
        for (Any detail : details) {
            try {
                read(detail);
            } catch (InvalidProtocolBufferException e) {
                // A detail that this client cannot read says nothing more.
            }
        }
        boolean late = reason.isEmpty() ? status.getCode() == Code.DEADLINE_EXCEEDED : reason.equals("DEADLINE_EXCEEDED");
        kind = late ? Kind.DEADLINE : reason.isEmpty() ? Kind.NETWORK : Kind.SERVER;
    }

    private void read(Any detail) throws InvalidProtocolBufferException {
        if (detail.is(ErrorInfo.class)) {
            ErrorInfo info = detail.unpack(ErrorInfo.class);
            if (info.getDomain().equals("responsa")) {
                reason = info.getReason();
                metadata = info.getMetadataMap();
            }
        } else if (detail.is(RetryInfo.class)) {
            retryAfter = duration(detail.unpack(RetryInfo.class).getRetryDelay());
        } else if (detail.is(BadRequest.class)) {
            for (var found : detail.unpack(BadRequest.class).getFieldViolationsList()) {
                violations.add(new Violation(found.getField(), found.getReason(), found.getDescription()));
            }
        }
    }

    static Duration duration(com.google.protobuf.Duration from) {
        return Duration.ofSeconds(from.getSeconds(), from.getNanos());
    }

    static ResponsaException broken(String message, Object... arguments) {
        return new ResponsaException(Kind.BROKEN, Code.DATA_LOSS, message.formatted(arguments), null);
    }

    static ResponsaException cancelled(String message, Throwable cause) {
        return new ResponsaException(Kind.CANCELLED, Code.CANCELLED, message, cause);
    }

    static ResponsaException of(StatusRuntimeException failure) {
        return failure instanceof ResponsaException typed ? typed : of(failure.getStatus(), failure.getTrailers());
    }

    static ResponsaException of(Status status, Metadata trailers) {
        return new ResponsaException(status, trailers, StatusProto.fromStatusAndTrailers(status, trailers).getDetailsList());
    }

    /** The error in a google.rpc.Status: of a {@code failed} event, an operation or a document. */
    public static ResponsaException of(com.google.rpc.Status status) {
        return new ResponsaException(
                Status.fromCodeValue(status.getCode()).withDescription(status.getMessage()), null, status.getDetailsList());
    }

    /** The error in a turn's terminal event, if the turn failed or was cancelled. A refusal is not an error. */
    public static Optional<ResponsaException> ofTurn(TurnEvent terminal) {
        return switch (terminal.getEventCase()) {
            case FAILED -> Optional.of(of(terminal.getFailed().getStatus()));
            case CANCELLED -> Optional.of(cancelled("The turn was cancelled" + by(terminal.getCancelled().getBy()) + ".", null));
            default -> Optional.empty();
        };
    }

    private static String by(CancelCause cause) {
        return switch (cause) {
            case CANCEL_CAUSE_OWNER -> " by its owner";
            case CANCEL_CAUSE_ADMINISTRATOR -> " by an administrator";
            case CANCEL_CAUSE_INTERRUPT -> ": a newer question replaced it";
            case CANCEL_CAUSE_DISCONNECT -> ": nobody followed it";
            default -> "";
        };
    }

    public Kind kind() {
        return kind;
    }

    /** A name of responsa.errors.v1.Reason without its prefix; "" if the error comes from a proxy, the network or this client. */
    public String reason() {
        return reason;
    }

    /** What the contract documents for the reason. */
    public Map<String, String> metadata() {
        return metadata;
    }

    public List<Violation> violations() {
        return List.copyOf(violations);
    }

    /** The time after which to try again, if the server says it. */
    public Optional<Duration> retryAfter() {
        return Optional.ofNullable(retryAfter);
    }

    /** The turn that {@link ResponsaClient#resume} continues, if the error ends a stream; "" if it is unknown. */
    public String turn() {
        return turn;
    }

    /** The seq of the last event that the stream passed on. */
    public long afterSeq() {
        return afterSeq;
    }

    /**
     * The request's request_id, also one that the client chose; "" without one. The same request with it has no second effect: a question attaches to the same turn from its
     * start.
     */
    public String requestId() {
        return requestId;
    }

    /** What to do, in a sentence. */
    public String remedy() {
        if (!violations.isEmpty()) {
            return violations.stream().map(found -> found.field() + ": " + found.description()).collect(Collectors.joining("; "));
        }
        if (retryAfter != null) {
            return "Try again in " + (long) Math.ceil(retryAfter.toMillis() / 1000.0) + " s.";
        }
        return switch (kind) {
            case UNREACHABLE -> "Check the address, and that a Responsa server runs there.";
            case CLOSED -> "Make another client.";
            default -> REMEDIES.getOrDefault(getStatus().getCode(), "Report the error.");
        };
    }

    /** The reason or the code, and the text for people. */
    @Override
    public String getMessage() {
        Status status = getStatus();
        String text = status.getDescription();
        return (reason.isEmpty() ? status.getCode() : reason) + ": " + (text == null || text.isEmpty() ? status.getCode() : text);
    }

    ResponsaException at(String turn, long afterSeq, String requestId) {
        this.turn = turn;
        this.afterSeq = afterSeq;
        this.requestId = requestId;
        return this;
    }

    /** Whether the same call may succeed later. */
    boolean mayPass() {
        return switch (reason) {
            case "" -> CUT_CODES.contains(getStatus().getCode()) && kind == Kind.NETWORK;
            case "RATE_LIMIT", "LIMIT_REACHED" -> retryAfter != null && retryAfter.compareTo(LONGEST_WAIT) <= 0;
            case "DRAINING", "PART_UNAVAILABLE", "OVERLOADED" -> true;
            default -> false;
        };
    }

    /** Why no Responsa server answered at the address, so that waiting does not help; null if one may have. */
    String whyUnreachable() {
        if (getStatus().getCode() == Code.UNIMPLEMENTED) {
            return "it is not a Responsa server";
        }
        for (Throwable cause = getStatus().getCause(); cause != null; cause = cause.getCause()) {
            String message = String.valueOf(cause.getMessage()).lines().findFirst().orElse("");
            if (message.startsWith("First received frame was not SETTINGS")) {
                return "it does not speak HTTP/2";
            }
            boolean connecting = cause instanceof ConnectException || cause instanceof NoRouteToHostException;
            boolean named = cause instanceof UnknownHostException || cause instanceof FileNotFoundException; // a file for a socket
            if (connecting || named || cause instanceof SSLException) {
                String words = cause.getMessage() == null ? cause.getClass().getSimpleName() : message;
                return words.length() > LONGEST_WORDS ? words.substring(0, LONGEST_WORDS) + "…" : words;
            }
        }
        return null;
    }
}
