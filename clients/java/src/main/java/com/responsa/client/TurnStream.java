package com.responsa.client;

import com.responsa.chat.v1.AskRequest;
import com.responsa.chat.v1.CancelTurnRequest;
import com.responsa.chat.v1.Citation;
import com.responsa.chat.v1.GetTurnRequest;
import com.responsa.chat.v1.ResumeTurnRequest;
import com.responsa.chat.v1.StartTurnRequest;
import com.responsa.chat.v1.Turn;
import com.responsa.chat.v1.TurnEvent;
import com.responsa.client.FrameReader.ChainBroken;
import com.responsa.client.FrameReader.Frame;
import com.responsa.client.FrameReader.Taken;
import com.responsa.client.ResponsaException.Kind;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.MethodDescriptor;
import io.grpc.Status.Code;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.BlockingClientCall;
import io.grpc.stub.ClientCalls;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Queue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import java.util.function.Function;

/**
 * The events of one turn, each once, in order of seq, up to the terminal event, over any number of connections. Iterate once, in one thread; the other methods may be called
 * by any thread.
 *
 * <p>The iteration throws a {@link ResponsaException} that says where to resume. A stream that was not read to its end must be closed; its turn continues.
 */
public final class TurnStream implements Iterable<TurnEvent>, AutoCloseable {
    private static final int INTERNAL_TRIES = 3;

    private final Calls calls;
    private final AskRequest question; // null for a resumed turn
    private final FrameReader reader; // guarded by this
    private final Backoff.Waits waits;
    private final Queue<TurnEvent> ready = new ArrayDeque<>();
    private final CountDownLatch closed = new CountDownLatch(1);
    private Consumer<Notice> onNotice = notice -> {};
    private Deadline deadline = Context.current().getDeadline();
    private long handed; // guarded by this
    private int place; // guarded by this

    private long troubleSince; // System.nanoTime(); 0 for no trouble
    private int internal;
    private boolean sentAway; // the server has asked for another connection, and nothing new has arrived since
    private boolean renewed;

    private Connection current; // guarded by this

    /** One connection, and the stream that it carries. */
    private static final class Connection {
        final Lines.Line line;
        volatile FrameCall<?> call;
        int frames;
        Duration reconnect;
        boolean silent;
        boolean retire;

        Connection(Lines.Line line) {
            this.line = line;
        }
    }

    private record FrameCall<R>(BlockingClientCall<?, R> call, Function<R, Frame> frame) {
        static <Q, R> FrameCall<R> start(
                Channel channel, MethodDescriptor<Q, R> method, CallOptions options, Q request, Function<R, Frame> frame) {
            return new FrameCall<>(ClientCalls.blockingV2ServerStreamingCall(channel, method, options, request), frame);
        }

        /** The next frame; null at the end of the stream. */
        Frame read(Duration silence) throws StatusException, InterruptedException, TimeoutException {
            R response = call.read(silence.toNanos(), TimeUnit.NANOSECONDS);
            return response == null ? null : frame.apply(response);
        }

        void cancel() {
            call.cancel("The stream was left.", null);
        }
    }

    TurnStream(Calls calls, AskRequest question, FrameReader reader) {
        this.calls = calls;
        this.question = question;
        this.reader = reader;
        waits = calls.config.backoff.new Waits();
        handed = reader.lastSeq;
    }

    /** Gives up after this time; without it, only when nothing arrives for {@link ResponsaClient.Builder#patience}. Call it before the iteration. */
    public TurnStream withDeadlineAfter(Duration duration) {
        deadline = Calls.earlier(deadline, Deadline.after(duration.toNanos(), TimeUnit.NANOSECONDS));
        return this;
    }

    /** Calls the consumer with each notice, in the thread of the iteration. Call it before the iteration. */
    public TurnStream onNotice(Consumer<Notice> consumer) {
        onNotice = consumer;
        return this;
    }

    /** turns/{uuid}, or "" before the first frame. */
    public synchronized String turn() {
        return reader.turn;
    }

    /** The question's request_id; "" for a resumed turn. A question with the same one attaches to the same turn. */
    public String requestId() {
        return question == null ? "" : question.getRequestId();
    }

    /** The seq of the last event that was passed on, after which another client can resume the turn. */
    public synchronized long lastSeq() {
        return handed;
    }

    /** The number of turns that come before this one in its conversation, as last reported. */
    public synchronized int queuePlace() {
        return place;
    }

    /** The event that ended the turn, or null. It is also set if the turn was resumed after this event, when nothing is passed on. */
    public synchronized TurnEvent terminal() {
        return reader.terminal;
    }

    /** The answer's text so far: the deltas without what was withdrawn, and at the end the complete answer. */
    public synchronized String text() {
        return reader.text();
    }

    /** The citations so far, without withdrawn ones. */
    public synchronized List<Citation> citations() {
        return reader.citations();
    }

    /** Cancels the turn, also before its name is known: the question then cannot start a turn any more. The iteration goes on to the terminal event. */
    public Turn stop() {
        String name = turn();
        if (name.isEmpty()) {
            var start = StartTurnRequest.newBuilder().setConversation(question.getConversation()).setText(question.getText());
            start.setRequestId(question.getRequestId()).setAgent(question.getAgent());
            if (question.hasOptions()) {
                start.setOptions(question.getOptions());
            }
            name = new ChatService(calls, null).startTurn(start.build()).getName();
        }
        return new ChatService(calls, null).cancelTurn(CancelTurnRequest.newBuilder().setName(name).build());
    }

    /** Leaves the stream. The turn continues, and the iteration ends. */
    @Override
    public void close() {
        closed.countDown();
        leave();
    }

    @Override
    public Iterator<TurnEvent> iterator() {
        return new Iterator<>() {
            @Override
            public boolean hasNext() {
                while (ready.isEmpty() && !isClosed()) {
                    hand(reader.lastSeq);
                    if (terminal() != null) {
                        close();
                        break;
                    }
                    try {
                        advance();
                    } catch (RuntimeException e) {
                        close();
                        throw e;
                    }
                }
                return !ready.isEmpty();
            }

            @Override
            public TurnEvent next() {
                if (!hasNext()) {
                    throw new NoSuchElementException();
                }
                TurnEvent event = ready.remove();
                hand(event.getSeq());
                return event;
            }
        };
    }

    private boolean isClosed() {
        return closed.getCount() == 0;
    }

    private synchronized void hand(long seq) {
        handed = seq;
    }

    /** Takes the next frame, or decides how to continue after the end of a connection's stream: after a pause, or with an error. */
    private void advance() {
        Connection from = null;
        ResponsaException failure = null;
        try {
            from = connection();
            if (from.call == null) {
                from.call = start(calls.signed(from.line.channel));
                if (isClosed()) {
                    from.call.cancel();
                }
            }
            Frame frame = from.reconnect == null ? from.call.read(calls.config.silence) : null;
            if (frame != null) {
                take(from, frame);
                return;
            }
        } catch (ChainBroken e) {
            failure = cut(e.getMessage());
        } catch (TimeoutException e) {
            from.silent = true;
            failure = cut("not even a heartbeat arrived");
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw interrupted();
        } catch (StatusException e) {
            failure = calls.failure(ResponsaException.of(e.getStatus(), e.getTrailers()));
        } catch (StatusRuntimeException e) {
            failure = calls.failure(e);
        }
        if (isClosed()) {
            return;
        }
        if (failure != null && (failure.kind() == Kind.BROKEN || failure.kind() == Kind.CLOSED)) {
            throw named(failure);
        }
        if (failure == null && from.frames == 0 && !reader.turn.isEmpty() && reader.lastSeq > 0) {
            failure = askWhetherEnded(); // the turn may have ended earlier
            if (terminal() != null) {
                return;
            }
        }
        Duration pause = after(from, failure);
        leave();
        try {
            closed.await(pause.toNanos(), TimeUnit.NANOSECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw interrupted();
        }
    }

    private synchronized Connection connection() {
        if (current == null) {
            current = new Connection(calls.lines.take());
        }
        return current;
    }

    private synchronized void leave() {
        if (current != null) {
            if (current.call != null) {
                current.call.cancel();
            }
            calls.lines.give(current.line, current.retire);
            current = null;
        }
    }

    private FrameCall<?> start(Channel channel) {
        CallOptions options = CallOptions.DEFAULT.withDeadline(deadline);
        long after = reader.beginStream();
        if (reader.turn.isEmpty()) {
            return FrameCall.start(channel, ChatService.ASK, options, question, Frame::of);
        }
        var request = ResumeTurnRequest.newBuilder().setTurn(reader.turn).setAfterSeq(after).setIncludeDeltas(reader.deltas).build();
        return FrameCall.start(channel, ChatService.RESUME_TURN, options, request, Frame::of);
    }

    private void take(Connection from, Frame frame) throws ChainBroken {
        Taken taken;
        boolean moved;
        synchronized (this) {
            long before = reader.lastSeq;
            taken = reader.take(frame);
            moved = reader.lastSeq > before;
        }
        calls.reached = true;
        from.frames++;
        from.reconnect = taken.reconnect();
        ready.addAll(taken.events());
        if (moved) {
            waits.reset();
            internal = 0;
            sentAway = renewed = false;
        }
        if (taken.reconnect() == null) {
            troubleSince = 0;
        }
        int reported = taken.place() != null ? taken.place() : moved ? 0 : place;
        if (reported != place) {
            synchronized (this) {
                place = reported;
            }
            onNotice.accept(new Notice.QueuePlace(reported));
        }
    }

    /** Takes the terminal event from the turn itself, if the turn ended at the last seq that was read. Returns why this failed, or null. */
    private ResponsaException askWhetherEnded() {
        try {
            Duration left = deadline == null ? null : Duration.ofNanos(deadline.timeRemaining(TimeUnit.NANOSECONDS));
            Turn turn = new ChatService(calls, left).getTurn(GetTurnRequest.newBuilder().setName(reader.turn).build());
            synchronized (this) {
                if (turn.hasTerminalEvent() && turn.getLastSeq() == reader.lastSeq) {
                    reader.end(turn.getTerminalEvent());
                }
            }
            return null;
        } catch (StatusRuntimeException e) {
            return ResponsaException.of(e);
        }
    }

    /** How long to wait before the next connection's stream. Throws if following has failed. */
    private Duration after(Connection from, ResponsaException failure) {
        if (deadline != null && deadline.isExpired()) {
            throw late();
        }
        if (Calls.isCancelled()) {
            throw interrupted();
        }
        ResponsaException why = failure;
        Duration pause;
        if (from.reconnect != null && !sentAway) {
            sentAway = true;
            from.retire = true;
            pause = from.reconnect;
        } else {
            if (why == null) {
                why = cut("it ended before the turn did");
            }
            if (isFinal(why)) {
                throw named(why);
            }
            from.retire = from.reconnect != null || from.silent || why.reason().equals("DRAINING");
            pause = pause(from.reconnect, why);
        }
        if (!Calls.allows(deadline, pause)) {
            // Before the turn is accepted, the server's own error says more than a passed deadline.
            throw why != null && why.kind() == Kind.SERVER && reader.turn.isEmpty() ? named(why) : late();
        }
        onNotice.accept(new Notice.Reconnecting(pause, why));
        return pause;
    }

    private boolean isFinal(ResponsaException failure) {
        if (failure.reason().equals("INTERNAL")) {
            // An accepted turn outlives an unexpected error of the call that follows it.
            internal++;
            return reader.turn.isEmpty() || internal >= INTERNAL_TRIES;
        }
        if (calls.mayRenew(failure) && !renewed) {
            renewed = true;
            return false;
        }
        boolean onTheWay = failure.reason().equals("CANCELLED") || failure.kind() == Kind.DEADLINE;
        return !onTheWay && !failure.mayPass(); // the caller did not cause those
    }

    /** The pause before the next stream. Throws if the patience has run out. */
    private Duration pause(Duration reconnect, ResponsaException failure) {
        Duration least = reconnect == null ? Duration.ZERO : reconnect;
        Duration asked = failure.retryAfter().orElse(least);
        long now = System.nanoTime();
        if (troubleSince == 0) {
            troubleSince = now;
        }
        // Until the server has answered once, there are only as many attempts as for a single call.
        boolean exhausted = waits.exhausted() && !calls.reached;
        Duration pause = waits.next(asked.compareTo(least) > 0 ? asked : least);
        if (exhausted || now - troubleSince + pause.toNanos() > calls.config.patience.toNanos()) {
            if (failure.kind() == Kind.SERVER) {
                throw named(failure);
            }
            String message = failure.getMessage().replaceFirst("\\.?$", ". The turn may continue") + howToGoOn() + ".";
            throw named(new ResponsaException(Kind.CUT, Code.UNAVAILABLE, message, failure));
        }
        return pause;
    }

    private String howToGoOn() {
        return reader.turn.isEmpty() ? ": ask again with request_id " + requestId() : ": resume " + reader.turn;
    }

    private ResponsaException interrupted() {
        return named(ResponsaException.cancelled("The call was cancelled. The turn continues" + howToGoOn() + ".", null));
    }

    private ResponsaException late() {
        String message = "The turn had not ended by the deadline. It continues" + howToGoOn() + ".";
        return named(new ResponsaException(Kind.DEADLINE, Code.DEADLINE_EXCEEDED, message, null));
    }

    /** The error with what a caller needs to continue later. */
    private ResponsaException named(ResponsaException failure) {
        return failure.at(turn(), lastSeq(), requestId());
    }

    private static ResponsaException cut(String why) {
        return new ResponsaException(Kind.NETWORK, Code.UNAVAILABLE, "The answer's stream was interrupted (" + why + ").", null);
    }
}
