package com.responsa.client;

import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import com.responsa.client.ResponsaException.Kind;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientInterceptors;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.Status.Code;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import java.time.Duration;
import java.util.Iterator;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;

/** Makes calls: with the credential, a deadline, repetitions and typed errors. */
final class Calls {
    final ResponsaClient.Builder config;
    final Lines lines;
    /** Whether the server has answered yet. Before that, a call that cannot connect is not repeated. */
    volatile boolean reached;

    Calls(ResponsaClient.Builder config) {
        this.config = config;
        lines = new Lines(Address.parse(config.url), config.channel);
    }

    static <Q extends Message, R extends Message> MethodDescriptor<Q, R> method(MethodType type, String name, Q request, R response) {
        return MethodDescriptor.<Q, R>newBuilder(ProtoUtils.marshaller(request), ProtoUtils.marshaller(response))
                .setType(type)
                .setFullMethodName(name)
                .build();
    }

    /** Makes a single call. timeout: null for the client's, which yields to a deadline of the context. */
    <Q extends Message, R> R unary(MethodDescriptor<Q, R> method, Q request, boolean repeatable, Duration timeout) {
        Deadline outer = Context.current().getDeadline();
        Duration own = timeout != null || outer != null ? timeout : config.timeout;
        Deadline deadline = own == null ? outer : earlier(outer, Deadline.after(own.toNanos(), TimeUnit.NANOSECONDS));
        Q asked = withRequestId(request);
        CallOptions options = CallOptions.DEFAULT.withDeadline(deadline);
        try {
            return repeat(deadline, repeatable, () -> ClientCalls.blockingUnaryCall(signed(lines.first()), method, options, asked));
        } catch (ResponsaException e) {
            FieldDescriptor field = asked.getDescriptorForType().findFieldByName("request_id");
            throw e.at("", 0, field == null ? "" : (String) asked.getField(field));
        }
    }

    /** Reads a stream of responses, which must be read to its end. */
    <Q, R> Iterator<R> stream(MethodDescriptor<Q, R> method, Q request, Duration timeout) {
        CallOptions options =
                timeout == null ? CallOptions.DEFAULT : CallOptions.DEFAULT.withDeadlineAfter(timeout.toNanos(), TimeUnit.NANOSECONDS);
        Iterator<R> responses = ClientCalls.blockingServerStreamingCall(signed(lines.first()), method, options, request);
        return new Iterator<>() {
            @Override
            public boolean hasNext() {
                try {
                    return responses.hasNext();
                } catch (StatusRuntimeException e) {
                    throw failure(e);
                }
            }

            @Override
            public R next() {
                hasNext(); // throws the typed error
                return responses.next();
            }
        };
    }

    /** The channel with the credential of one call. */
    Channel signed(Channel next) {
        Metadata headers = new Metadata();
        String token = config.token.get();
        if (!token.isEmpty()) {
            headers.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + token);
        }
        if (!config.onBehalfOf.isEmpty()) {
            headers.put(Metadata.Key.of("responsa-on-behalf-of", Metadata.ASCII_STRING_MARSHALLER), config.onBehalfOf);
        }
        return ClientInterceptors.intercept(next, MetadataUtils.newAttachHeadersInterceptor(headers));
    }

    /** Makes a call, and makes it again as long as this may help. */
    <R> R repeat(Deadline deadline, boolean repeatable, Callable<R> attempt) {
        Backoff.Waits waits = config.backoff.new Waits();
        boolean renewed = false;
        while (true) {
            ResponsaException failure;
            try {
                if (lines.isClosed()) {
                    throw closedError();
                }
                R response = attempt.call();
                reached = true;
                return response;
            } catch (StatusException e) {
                failure = failure(ResponsaException.of(e.getStatus(), e.getTrailers()));
            } catch (StatusRuntimeException e) {
                failure = failure(e);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw ResponsaException.cancelled("The call was cancelled.", e);
            } catch (RuntimeException e) {
                throw e;
            } catch (Exception e) {
                throw new AssertionError(e); // no attempt throws another checked exception
            }
            if (isCancelled() && failure.kind() != Kind.DEADLINE) {
                throw ResponsaException.cancelled("The call was cancelled.", failure);
            }
            if (mayRenew(failure) && !renewed) {
                renewed = true;
                continue;
            }
            if (!repeatable || !failure.mayPass() || waits.exhausted()) {
                throw failure;
            }
            Duration wait = waits.next(failure.retryAfter().orElse(Duration.ZERO));
            if (!allows(deadline, wait) || !sleep(wait)) {
                throw failure;
            }
        }
    }

    /** The typed error of a failed attempt. */
    ResponsaException failure(StatusRuntimeException failed) {
        ResponsaException made = ResponsaException.of(failed);
        if (!made.reason().isEmpty()) {
            reached = true;
        } else if (lines.isClosed()) {
            return closedError();
        } else if (made.kind() == Kind.NETWORK && !reached) {
            String why = made.whyUnreachable();
            if (why != null) {
                String message = "No Responsa server answers at %s (%s).".formatted(config.url, why);
                return new ResponsaException(Kind.UNREACHABLE, made.getStatus().getCode(), message, made);
            }
        }
        return made;
    }

    boolean mayRenew(ResponsaException failure) {
        return failure.reason().equals("TOKEN_INVALID") && config.renews;
    }

    static ResponsaException closedError() {
        return new ResponsaException(Kind.CLOSED, Code.CANCELLED, "This client is closed.", null);
    }

    /** The request with a request_id, if it has this field. */
    @SuppressWarnings("unchecked")
    static <M extends Message> M withRequestId(M request) {
        FieldDescriptor field = request.getDescriptorForType().findFieldByName("request_id");
        if (field == null || !request.getField(field).equals("")) {
            return request;
        }
        return (M) request.toBuilder().setField(field, UUID.randomUUID().toString()).build();
    }

    /** Whether a request, or the resource in it, names the version that it changes. A repetition would then fail. */
    static boolean hasEtag(Message request) {
        return request.getAllFields().entrySet().stream().anyMatch(found -> {
            FieldDescriptor field = found.getKey();
            boolean resource = field.getJavaType() == FieldDescriptor.JavaType.MESSAGE && !field.isRepeated();
            return field.getName().equals("etag") || resource && hasEtag((Message) found.getValue());
        });
    }

    static Deadline earlier(Deadline one, Deadline other) {
        return one == null ? other : other == null ? one : one.minimum(other);
    }

    static boolean allows(Deadline deadline, Duration wait) {
        return deadline == null || deadline.timeRemaining(TimeUnit.NANOSECONDS) > wait.toNanos();
    }

    /** Whether the caller no longer wants the call. */
    static boolean isCancelled() {
        return Thread.currentThread().isInterrupted() || Context.current().isCancelled();
    }

    /** Returns false if the thread is interrupted. */
    static boolean sleep(Duration wait) {
        try {
            TimeUnit.NANOSECONDS.sleep(wait.toNanos());
            return true;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return false;
        }
    }
}
