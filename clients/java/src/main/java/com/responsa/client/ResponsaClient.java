package com.responsa.client;

import com.google.longrunning.Operation;
import com.google.longrunning.WaitOperationRequest;
import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.responsa.chat.v1.AskRequest;
import com.responsa.chat.v1.ResumeTurnRequest;
import com.responsa.knowledge.v1.DocumentMetadata;
import com.responsa.knowledge.v1.UploadDocumentRequest;
import com.responsa.knowledge.v1.UploadFinish;
import com.responsa.knowledge.v1.UploadStart;
import io.grpc.CallOptions;
import io.grpc.Context;
import io.grpc.ManagedChannelBuilder;
import io.grpc.StatusException;
import io.grpc.stub.BlockingClientCall;
import io.grpc.stub.ClientCalls;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.function.Function;
import java.util.function.Supplier;

/**
 * Asks a Responsa server questions and follows their answers: over lost connections and restarts of the server, and from any other process.
 *
 * <p>{@link #chat}, {@link #knowledge}, {@link #auth}, {@link #admin} and {@link #operations} have the calls of the contract, whose messages are in {@code com.responsa.*.v1}.
 * They fill in each {@code request_id}, limit a call to {@link Builder#timeout}, and repeat a call that may be repeated after a lost response. Every error is a
 * {@link ResponsaException}. The client connects at its first call, and may be used by several threads.
 */
public final class ResponsaClient implements AutoCloseable {
    /** The address of a server on this machine. */
    public static final String DEFAULT_URL = "http://127.0.0.1:8080";

    private static final int CHUNK_BYTES = 256 << 10;
    private static final Duration WAIT_STEP = Duration.ofSeconds(20);

    private final Calls calls;

    /** How a client connects. */
    public static final class Builder implements Cloneable {
        String url = DEFAULT_URL;
        Supplier<String> token = () -> "";
        boolean renews;
        String onBehalfOf = "";
        Duration timeout = Duration.ofMinutes(1);
        Duration silence = Duration.ofSeconds(45);
        Duration patience = Duration.ofMinutes(5);
        Backoff backoff = Backoff.DEFAULT;
        Function<String, ManagedChannelBuilder<?>> channel;

        private Builder() {}

        /** http://host:port, https://host:port, host:port (plain text) or, on Linux, unix:/path/of/socket; {@link #DEFAULT_URL} by default and for null. */
        public Builder url(String url) {
            this.url = url == null ? DEFAULT_URL : url;
            return this;
        }

        /** Authenticates every call; null for no key. Throws IllegalArgumentException for spaces, line breaks or characters beyond ASCII. */
        public Builder apiKey(String apiKey) {
            String key = apiKey == null ? "" : apiKey;
            if (!key.matches("[!-~]*")) {
                throw new IllegalArgumentException("the API key contains spaces, line breaks or characters beyond ASCII");
            }
            token = () -> key;
            renews = false;
            return this;
        }

        /** Returns the newest access token, instead of an API key: the client calls it before each call, and once more if the server refuses a token. */
        public Builder token(Supplier<String> token) {
            this.token = token;
            renews = true;
            return this;
        }

        /** The user, users/{uuid}, for whom a service makes its calls. */
        public Builder onBehalfOf(String user) {
            onBehalfOf = user;
            return this;
        }

        /** Limits a single call, with its repetitions, unless the caller's context has a deadline; a minute by default. Streams and uploads have no limit. */
        public Builder timeout(Duration timeout) {
            this.timeout = timeout;
            return this;
        }

        /** The time without a frame after which a stream is lost; 45 seconds by default. The server sends a heartbeat every 15 seconds. */
        public Builder silence(Duration silence) {
            this.silence = silence;
            return this;
        }

        /** The time without a frame, counted from the first failure, after which a stream gives up; five minutes by default. */
        public Builder patience(Duration patience) {
            this.patience = patience;
            return this;
        }

        /** The waits between attempts. */
        public Builder backoff(Backoff backoff) {
            this.backoff = backoff;
            return this;
        }

        /** Makes the channel for an address in gRPC's form, such as one with TLS credentials or an interceptor for traces. The client then sets its own options. */
        public Builder channel(Function<String, ManagedChannelBuilder<?>> channel) {
            this.channel = channel;
            return this;
        }

        /** Throws IllegalArgumentException if the address is wrong. */
        public ResponsaClient build() {
            return new ResponsaClient(clone());
        }

        @Override
        protected Builder clone() {
            try {
                return (Builder) super.clone();
            } catch (CloneNotSupportedException e) {
                throw new AssertionError(e);
            }
        }
    }

    public static Builder builder() {
        return new Builder();
    }

    private ResponsaClient(Builder config) {
        calls = new Calls(config);
    }

    public ChatService chat() {
        return new ChatService(calls, null);
    }

    public KnowledgeService knowledge() {
        return new KnowledgeService(calls, null);
    }

    public AuthService auth() {
        return new AuthService(calls, null);
    }

    public AdminService admin() {
        return new AdminService(calls, null);
    }

    public Operations operations() {
        return new Operations(calls, null);
    }

    /**
     * Asks a question, and follows its turn. The iteration sends the question. When it is left, the turn continues: {@link #resume} follows it again, and
     * {@link TurnStream#stop} cancels it. With {@code cancel_on_disconnect}, the server cancels it ten seconds later.
     */
    public TurnStream ask(AskRequest question) {
        AskRequest asked = Calls.withRequestId(question);
        return new TurnStream(calls, asked, new FrameReader(asked.getIncludeDeltas(), "", 0));
    }

    /** Follows a turn after the event with the seq {@code after_seq}: before, while and after it runs. */
    public TurnStream resume(ResumeTurnRequest turn) {
        return new TurnStream(calls, null, new FrameReader(turn.getIncludeDeltas(), turn.getTurn(), turn.getAfterSeq()));
    }

    /**
     * Sends a file of at most 64 MiB, and sends it again after a lost connection. {@link #await} waits until search finds the document.
     *
     * @param metadata its {@code source_key} identifies the document in its collection; by default it is the file's name
     */
    public Operation upload(Path file, DocumentMetadata metadata) throws IOException {
        DocumentMetadata named =
                metadata.getSourceKey().isEmpty() ? metadata.toBuilder().setSourceKey(file.getFileName().toString()).build() : metadata;
        try {
            return upload(() -> Files.newInputStream(file), Files.size(file), named);
        } catch (UncheckedIOException e) {
            throw e.getCause();
        }
    }

    /** Sends bytes, as {@link #upload(Path, DocumentMetadata)}. Throws IllegalArgumentException without a {@code source_key}. */
    public Operation upload(ByteString content, DocumentMetadata metadata) {
        if (metadata.getSourceKey().isEmpty()) {
            throw new IllegalArgumentException("bytes need a source_key");
        }
        return upload(content::newInput, content.size(), metadata);
    }

    private Operation upload(Callable<InputStream> content, long size, DocumentMetadata metadata) {
        var start = UploadStart.newBuilder().setMetadata(metadata).setSizeBytes(size).setRequestId(UUID.randomUUID().toString());
        var message = UploadDocumentRequest.newBuilder().setStart(start).build();
        return calls.repeat(Context.current().getDeadline(), true, () -> {
            try (InputStream opened = content.call()) {
                return send(message, opened);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        });
    }

    /** Tries once to send a document. */
    private Operation send(UploadDocumentRequest start, InputStream content) throws StatusException, InterruptedException, IOException {
        BlockingClientCall<UploadDocumentRequest, Operation> sending =
                ClientCalls.blockingClientStreamingCall(calls.signed(calls.lines.first()), KnowledgeService.UPLOAD_DOCUMENT, CallOptions.DEFAULT);
        try {
            MessageDigest digest = FrameReader.newSha256();
            long size = 0;
            sending.write(start);
            for (byte[] chunk; (chunk = content.readNBytes(CHUNK_BYTES)).length > 0; size += chunk.length) {
                digest.update(chunk);
                sending.write(UploadDocumentRequest.newBuilder().setChunk(ByteString.copyFrom(chunk)).build());
            }
            var finish = UploadFinish.newBuilder().setSizeBytes(size).setSha256(ByteString.copyFrom(digest.digest()));
            sending.write(UploadDocumentRequest.newBuilder().setFinish(finish).build());
            sending.halfClose();
            return sending.read();
        } finally {
            sending.cancel("The upload was left.", null);
        }
    }

    /**
     * Waits until an operation has ended, and returns its result, such as an {@code IngestResult}. Throws the operation's own error. If the caller's context or thread ends first, the
     * operation continues.
     */
    public <R extends Message> R await(Operation operation, Class<R> result) {
        Operation state = operation;
        while (!state.getDone()) {
            long began = System.nanoTime();
            var step = com.google.protobuf.Duration.newBuilder().setSeconds(WAIT_STEP.toSeconds());
            var request = WaitOperationRequest.newBuilder().setName(state.getName()).setTimeout(step).build();
            state = operations().withDeadlineAfter(calls.config.timeout.plus(WAIT_STEP)).waitOperation(request);
            // The server may answer at once. Without a pause, the calls would flood it.
            if (!state.getDone() && !Calls.sleep(Duration.ofMillis(50).minusNanos(System.nanoTime() - began))) {
                throw ResponsaException.cancelled(state.getName() + " has not ended; it continues.", null);
            }
        }
        if (state.hasError()) {
            throw ResponsaException.of(state.getError());
        }
        Any response = state.getResponse();
        try {
            return response.unpack(result);
        } catch (InvalidProtocolBufferException e) {
            throw new IllegalArgumentException("the result is a " + response.getTypeUrl(), e);
        }
    }

    /** Ends all calls and closes the connections. Turns continue. */
    @Override
    public void close() {
        calls.lines.close();
    }
}
