package com.responsa.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.longrunning.Operation;
import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.protobuf.Duration;
import com.google.protobuf.Message;
import com.google.protobuf.Timestamp;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import com.responsa.auth.v1.GetMeRequest;
import com.responsa.auth.v1.RefreshTokenRequest;
import com.responsa.auth.v1.RefreshTokenResponse;
import com.responsa.auth.v1.SessionTokens;
import com.responsa.auth.v1.User;
import com.responsa.chat.v1.AskRequest;
import com.responsa.chat.v1.AskResponse;
import com.responsa.chat.v1.CancelCause;
import com.responsa.chat.v1.CancelTurnRequest;
import com.responsa.chat.v1.StartTurnRequest;
import com.responsa.chat.v1.Turn;
import com.responsa.chat.v1.TurnCancelled;
import com.responsa.chat.v1.TurnEvent;
import com.responsa.chat.v1.TurnStarted;
import com.responsa.client.ResponsaException.Kind;
import com.responsa.knowledge.v1.Collection;
import com.responsa.knowledge.v1.DocumentMetadata;
import com.responsa.knowledge.v1.GetDocumentOriginalRequest;
import com.responsa.knowledge.v1.GetDocumentOriginalResponse;
import com.responsa.knowledge.v1.UpdateCollectionRequest;
import com.responsa.knowledge.v1.UploadDocumentRequest;
import com.sun.net.httpserver.HttpServer;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.ServerServiceDefinition;
import io.grpc.Status.Code;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.time.Instant;
import java.util.Deque;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class ResponsaClientTest {
    private static final StatusRuntimeException LOST =
            Code.UNAVAILABLE.toStatus().withDescription("the connection was lost").asRuntimeException();

    /** The server's calls fail with the next of these, and succeed when none is left. */
    private final Deque<StatusRuntimeException> failures = new ConcurrentLinkedDeque<>();
    private final List<Message> requests = new CopyOnWriteArrayList<>();
    private final List<String> tokens = new CopyOnWriteArrayList<>();
    private ByteString uploaded = ByteString.EMPTY;
    private Server server;
    private ResponsaClient client;

    @BeforeEach
    void serve() throws IOException {
        server = Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
                .intercept(new KeepTokens())
                .addService(auth())
                .addService(chat())
                .addService(knowledge())
                .build()
                .start();
        client = builder().build();
    }

    @AfterEach
    void end() {
        client.close();
        server.shutdownNow();
    }

    private ResponsaClient.Builder builder() {
        var backoff = new Backoff(3, java.time.Duration.ofMillis(1), java.time.Duration.ofMillis(1), () -> 1);
        return ResponsaClient.builder().url("127.0.0.1:" + server.getPort()).backoff(backoff);
    }

    @Test
    void aCallWhoseResponseIsLostIsRepeatedWithTheSameRequestId() {
        failures.addAll(List.of(LOST, LOST));
        try (var signed = builder().apiKey("rsp_key").build()) {
            signed.chat().startTurn(StartTurnRequest.newBuilder().setText("Why?").build());
        }
        assertEquals(3, requests.size());
        assertEquals(36, ((StartTurnRequest) requests.get(0)).getRequestId().length());
        assertEquals(requests.get(0), requests.get(2));
        assertEquals("Bearer rsp_key", tokens.get(2));
    }

    @Test
    void aCallWithASecondEffectIsNotRepeated() {
        failures.addAll(List.of(LOST, LOST));
        client.knowledge().updateCollection(UpdateCollectionRequest.getDefaultInstance());
        assertEquals(3, requests.size());
        failures.add(LOST);
        var guarded = UpdateCollectionRequest.newBuilder().setCollection(Collection.newBuilder().setEtag("1")).build();
        assertThrows(ResponsaException.class, () -> client.knowledge().updateCollection(guarded));
        assertEquals(4, requests.size());
    }

    @Test
    void aRefusedTokenIsReplacedOnce() {
        failures.addAll(List.of(refusal(Code.UNAUTHENTICATED, "TOKEN_INVALID"), refusal(Code.UNAUTHENTICATED, "TOKEN_INVALID")));
        Iterator<String> next = List.of("first", "second", "third").iterator();
        try (var signed = builder().token(next::next).build()) {
            var error = assertThrows(ResponsaException.class, () -> signed.auth().getMe(GetMeRequest.getDefaultInstance()));
            assertEquals("TOKEN_INVALID", error.reason());
        }
        assertEquals(List.of("Bearer first", "Bearer second"), tokens);
    }

    @Test
    void aRefreshThatFailedIsRepeatedWithTheSameRequestId() {
        failures.addAll(List.of(LOST, LOST, LOST, LOST)); // all attempts of the first call fail
        var session = new Session(client.auth(), SessionTokens.newBuilder().setRefreshToken("rst_1").build());
        assertThrows(ResponsaException.class, session::get);
        assertEquals("new", session.get());
        assertEquals("new", session.get()); // it is still good
        assertEquals(5, requests.size());
        assertEquals(requests.get(0), requests.get(4));
    }

    @Test
    void anErrorNamesItsReasonFieldsAndRemedy() {
        var violation = BadRequest.FieldViolation.newBuilder().setField("text").setReason("string.min_bytes").setDescription("must not be empty");
        failures.add(refusal(Code.INVALID_ARGUMENT, "INVALID_FIELD", BadRequest.newBuilder().addFieldViolations(violation).build()));
        var error = assertThrows(ResponsaException.class, () -> client.chat().startTurn(StartTurnRequest.getDefaultInstance()));
        assertEquals(Code.INVALID_ARGUMENT, error.getStatus().getCode());
        assertEquals("INVALID_FIELD: It is so.", error.getMessage());
        assertEquals("text: must not be empty", error.remedy());
        var delay = RetryInfo.newBuilder().setRetryDelay(Duration.newBuilder().setSeconds(1).setNanos(500_000_000)).build();
        assertEquals("Try again in 2 s.", ResponsaException.of(refusal(Code.RESOURCE_EXHAUSTED, "QUEUE_FULL", delay)).remedy());
    }

    @Test
    void aDeadlineIsTheCallersAlsoIfTheServerSeesItFirst() {
        failures.add(refusal(Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"));
        var error = assertThrows(ResponsaException.class, () -> client.chat().startTurn(StartTurnRequest.getDefaultInstance()));
        assertEquals(Kind.DEADLINE, error.kind());
        assertEquals(((StartTurnRequest) requests.get(0)).getRequestId(), error.requestId());
    }

    @Test
    void theErrorOfACancelledTurnNamesWhoCancelledIt() {
        var cancelled = TurnCancelled.newBuilder().setBy(CancelCause.CANCEL_CAUSE_OWNER);
        var error = ResponsaException.ofTurn(TurnEvent.newBuilder().setCancelled(cancelled).build()).orElseThrow();
        assertEquals("CANCELLED: The turn was cancelled by its owner.", error.getMessage());
    }

    @Test
    void theErrorOfAStreamIsTyped() {
        failures.add(refusal(Code.NOT_FOUND, "RESOURCE_NOT_FOUND"));
        var chunks = client.knowledge().getDocumentOriginal(GetDocumentOriginalRequest.getDefaultInstance());
        assertEquals("RESOURCE_NOT_FOUND", assertThrows(ResponsaException.class, chunks::next).reason());
    }

    @Test
    void anUploadIsSentAgainWhole() {
        failures.add(LOST);
        var content = ByteString.copyFromUtf8("0123456789".repeat(100_000));
        client.upload(content, DocumentMetadata.newBuilder().setSourceKey("numbers.txt").build());
        assertEquals(content, uploaded);
        assertEquals(2, requests.size());
        assertEquals(requests.get(0), requests.get(1));
        assertThrows(IllegalArgumentException.class, () -> client.upload(content, DocumentMetadata.getDefaultInstance()));
    }

    @Test
    void aQuestionThatIsNotAcceptedYetCanBeStopped() {
        try (var stream = client.ask(AskRequest.newBuilder().setText("Why?").build())) {
            stream.stop();
            assertEquals(stream.requestId(), ((StartTurnRequest) requests.get(0)).getRequestId());
        }
        assertEquals("turns/1", ((CancelTurnRequest) requests.get(1)).getName());
    }

    @Test
    void aStreamEndsWhenItIsLeftOrItsThreadIsInterrupted() {
        try (var stream = client.ask(AskRequest.newBuilder().setText("Why?").build())) {
            var events = stream.iterator();
            assertTrue(events.next().hasStarted());
            stream.close();
            assertFalse(events.hasNext());
        }
        try (var stream = client.ask(AskRequest.newBuilder().setText("Why?").build())) {
            var events = stream.iterator();
            events.next();
            Thread.currentThread().interrupt();
            var error = assertThrows(ResponsaException.class, events::hasNext);
            assertTrue(Thread.interrupted());
            assertEquals(List.of(Kind.CANCELLED, "turns/1", 1L), List.of(error.kind(), error.turn(), error.afterSeq()));
        }
    }

    @Test
    void aClosedClientMakesNoCalls() {
        client.close();
        var stream = client.ask(AskRequest.newBuilder().setText("Why?").build());
        for (Supplier<?> call : List.<Supplier<?>>of(() -> client.auth().getMe(GetMeRequest.getDefaultInstance()), stream.iterator()::next)) {
            assertEquals(Kind.CLOSED, assertThrows(ResponsaException.class, call::get).kind());
        }
        assertEquals(List.of(), requests);
    }

    @Test
    void aServerOfAnotherKindIsToldAtOnce() throws IOException {
        var web = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
        web.start();
        try (var lost = ResponsaClient.builder().apiKey(null).url("127.0.0.1:" + web.getAddress().getPort()).build()) {
            var error = assertThrows(ResponsaException.class, () -> lost.auth().getMe(GetMeRequest.getDefaultInstance()));
            assertEquals(Kind.UNREACHABLE, error.kind(), error.getMessage());
            assertTrue(error.remedy().startsWith("Check the address"));
        } finally {
            web.stop(0);
        }
    }

    @Test
    void addresses() {
        assertEquals(new Address("dns:///127.0.0.1:8080", false, true), Address.parse("http://127.0.0.1:8080"));
        assertEquals(new Address("dns:///answers.example.org:443", true, false), Address.parse("https://answers.example.org/"));
        assertEquals(new Address("dns:///%5B::1%5D:9000", false, true), Address.parse("[::1]:9000"));
        assertEquals(new Address("unix:/run/responsa.sock", false, true), Address.parse("unix:/run/responsa.sock"));
        for (String wrong : List.of("localhost", "ftp://localhost:1", "http://localhost/path", "unix:/", "")) {
            assertThrows(IllegalArgumentException.class, () -> Address.parse(wrong), wrong);
        }
    }

    private static StatusRuntimeException refusal(Code code, String reason, Message... more) {
        var status = com.google.rpc.Status.newBuilder().setCode(code.value()).setMessage("It is so.");
        status.addDetails(Any.pack(ErrorInfo.newBuilder().setDomain("responsa").setReason(reason).build()));
        Stream.of(more).map(Any::pack).forEach(status::addDetails);
        return StatusProto.toStatusRuntimeException(status.build());
    }

    private <R> void answer(Message request, R response, StreamObserver<R> to) {
        requests.add(request);
        StatusRuntimeException failure = failures.poll();
        if (failure != null) {
            to.onError(failure);
        } else {
            to.onNext(response);
            to.onCompleted();
        }
    }

    private final class KeepTokens implements ServerInterceptor {
        @Override
        public <Q, R> ServerCall.Listener<Q> interceptCall(ServerCall<Q, R> call, Metadata headers, ServerCallHandler<Q, R> next) {
            tokens.add(String.valueOf(headers.get(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER))));
            return next.startCall(call, headers);
        }
    }

    private ServerServiceDefinition auth() {
        var later = Timestamp.newBuilder().setSeconds(Instant.now().getEpochSecond() + 3600);
        var fresh = SessionTokens.newBuilder().setAccessToken("new").setAccessExpireTime(later);
        var refreshed = RefreshTokenResponse.newBuilder().setTokens(fresh).build();
        return ServerServiceDefinition.builder("responsa.auth.v1.AuthService")
                .addMethod(AuthService.GET_ME, ServerCalls.asyncUnaryCall((request, to) -> answer(request, User.getDefaultInstance(), to)))
                .addMethod(AuthService.REFRESH_TOKEN, ServerCalls.asyncUnaryCall((request, to) -> answer(request, refreshed, to)))
                .build();
    }

    private ServerServiceDefinition chat() {
        var turn = Turn.newBuilder().setName("turns/1").build();
        var started = TurnEvent.newBuilder().setSeq(1).setAttempt(1).setStarted(TurnStarted.getDefaultInstance());
        var frame = AskResponse.newBuilder().setTurn("turns/1").setThroughSeq(1).addEvents(started).build();
        return ServerServiceDefinition.builder("responsa.chat.v1.ChatService")
                .addMethod(ChatService.ASK, ServerCalls.asyncServerStreamingCall((request, to) -> to.onNext(frame))) // without an end
                .addMethod(ChatService.START_TURN, ServerCalls.asyncUnaryCall((request, to) -> answer(request, turn, to)))
                .addMethod(ChatService.CANCEL_TURN, ServerCalls.asyncUnaryCall((request, to) -> answer(request, turn, to)))
                .build();
    }

    private ServerServiceDefinition knowledge() {
        return ServerServiceDefinition.builder("responsa.knowledge.v1.KnowledgeService")
                .addMethod(
                        KnowledgeService.UPDATE_COLLECTION,
                        ServerCalls.asyncUnaryCall((request, to) -> answer(request, request.getCollection(), to)))
                .addMethod(
                        KnowledgeService.GET_DOCUMENT_ORIGINAL,
                        ServerCalls.asyncServerStreamingCall(
                                (request, to) -> answer(request, GetDocumentOriginalResponse.getDefaultInstance(), to)))
                .addMethod(KnowledgeService.UPLOAD_DOCUMENT, ServerCalls.asyncClientStreamingCall(this::upload))
                .build();
    }

    private StreamObserver<UploadDocumentRequest> upload(StreamObserver<Operation> to) {
        uploaded = ByteString.EMPTY;
        return new StreamObserver<>() {
            private UploadDocumentRequest start;

            @Override
            public void onNext(UploadDocumentRequest part) {
                if (part.hasStart()) {
                    start = part;
                }
                uploaded = uploaded.concat(part.getChunk());
            }

            @Override
            public void onError(Throwable failure) {}

            @Override
            public void onCompleted() {
                answer(start, Operation.newBuilder().setName("operations/1").build(), to);
            }
        };
    }
}
