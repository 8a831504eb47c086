package com.responsa.client;

import static com.responsa.client.ResponsaException.broken;

import com.google.protobuf.ByteString;
import com.responsa.chat.v1.AskResponse;
import com.responsa.chat.v1.Citation;
import com.responsa.chat.v1.QuoteOrigin;
import com.responsa.chat.v1.ResumeTurnResponse;
import com.responsa.chat.v1.TurnAnswer;
import com.responsa.chat.v1.TurnAttemptRestarted;
import com.responsa.chat.v1.TurnDelta;
import com.responsa.chat.v1.TurnEvent;
import com.responsa.chat.v1.TurnEvent.EventCase;
import com.responsa.chat.v1.TurnSnapshot;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/** Takes the frames of one turn over any number of streams, and returns each event once. clients/conformance/cases.yaml has its rules as cases. */
final class FrameReader {
    private static final Set<EventCase> TERMINAL =
            EnumSet.of(EventCase.ANSWER, EventCase.REFUSED, EventCase.FAILED, EventCase.CANCELLED);

    /** A response of Ask or ResumeTurn: it covers the events after {@code after} up to {@code through}. */
    record Frame(String turn, long after, long through, List<TurnEvent> events) {
        static Frame of(AskResponse from) {
            return new Frame(from.getTurn(), from.getAfterSeq(), from.getThroughSeq(), from.getEventsList());
        }

        static Frame of(ResumeTurnResponse from) {
            return new Frame(from.getTurn(), from.getAfterSeq(), from.getThroughSeq(), from.getEventsList());
        }
    }

    /** A frame does not continue the frame before. A new stream returns what is missing. */
    static final class ChainBroken extends Exception {
        private static final long serialVersionUID = 1;

        ChainBroken(String message, Object... arguments) {
            super(message.formatted(arguments));
        }
    }

    /** What a frame brought: events to pass on, the place in the queue, and the wait before another connection; null if it did not say. */
    record Taken(List<TurnEvent> events, Integer place, Duration reconnect) {}

    final boolean deltas;
    String turn;
    long lastSeq;
    TurnEvent terminal;
    private List<TurnEvent> cited = new ArrayList<>();
    private long through;
    private int attempt;
    private ByteString text = ByteString.EMPTY;
    /** The byte of the answer at which {@code text} begins; negative while it is unknown, because another reader read the beginning. */
    private long start;

    FrameReader(boolean deltas, String turn, long afterSeq) {
        this.deltas = deltas;
        this.turn = turn;
        lastSeq = through = afterSeq;
        start = afterSeq > 0 ? -1 : 0;
    }

    /** Begins another stream, whose first frame continues after this seq. */
    long beginStream() {
        return through = turn.isEmpty() ? 0 : lastSeq;
    }

    String text() {
        return text.toStringUtf8();
    }

    List<Citation> citations() {
        if (terminal != null && terminal.hasAnswer()) {
            return terminal.getAnswer().getCitationsList();
        }
        return cited.stream().map(TurnEvent::getCitation).toList();
    }

    Taken take(Frame frame) throws ChainBroken {
        if (!turn.isEmpty() && !frame.turn.equals(turn)) {
            throw broken("The stream of %s contained a frame of %s.", turn, frame.turn);
        }
        if (frame.after != through || frame.through < frame.after) {
            throw new ChainBroken("a frame covers (%d, %d] but should continue after %d", frame.after, frame.through, through);
        }
        turn = frame.turn;
        List<TurnEvent> logged = new ArrayList<>();
        Integer place = null;
        Duration reconnect = null;
        for (TurnEvent event : frame.events) {
            if (event.getSeq() != 0) {
                logged.add(event);
                continue;
            }
            switch (event.getEventCase()) {
                case SNAPSHOT -> {
                    return new Taken(takeSnapshot(event.getSnapshot()), place, reconnect);
                }
                case HEARTBEAT -> place = event.getHeartbeat().getQueuePlace();
                case RECONNECT -> reconnect = ResponsaException.duration(event.getReconnect().getAfter());
                default -> {}
            }
        }
        checkWhole(frame, logged);
        through = frame.through;
        long known = lastSeq;
        lastSeq = Math.max(lastSeq, through);
        List<TurnEvent> passed = new ArrayList<>();
        for (TurnEvent event : logged) {
            if (event.getSeq() > known) {
                takeEvent(event);
                if (event.getEventCase() != EventCase.EVENT_NOT_SET) {
                    passed.add(event);
                }
            }
        }
        return new Taken(passed, place, reconnect);
    }

    /** Checks that the events are in order and within the frame's range. If the requests ask for deltas, no event may be missing. */
    private void checkWhole(Frame frame, List<TurnEvent> logged) throws ChainBroken {
        long last = frame.after;
        for (TurnEvent event : logged) {
            long seq = event.getSeq();
            if (seq <= last || seq > frame.through || deltas && seq != last + 1) {
                throw new ChainBroken("event %d follows %d in a frame that covers the events up to %d", seq, last, frame.through);
            }
            last = seq;
        }
        if (deltas && last != frame.through) {
            throw new ChainBroken("a frame that covers the events up to %d ends with event %d", frame.through, last);
        }
    }

    private void takeEvent(TurnEvent event) {
        if (terminal != null) {
            throw broken("Event %d of %s comes after the terminal event, %d.", event.getSeq(), turn, terminal.getSeq());
        }
        if (event.getEventCase() == EventCase.EVENT_NOT_SET) {
            return;
        }
        takeAttempt(event);
        switch (event.getEventCase()) {
            case DELTA -> append(event.getDelta());
            case CITATION -> cited.add(event);
            case ATTEMPT_RESTARTED -> withdraw(event.getAttemptRestarted());
            case ANSWER -> {
                checkAnswer(event.getAnswer());
                ByteString whole = event.getAnswer().getTextBytes();
                if (deltas && start >= 0 && (start > whole.size() || !whole.substring((int) start).equals(text))) {
                    throw broken("The pieces of the answer of %s do not add up to its text.", turn);
                }
                text = whole;
            }
            default -> {}
        }
        if (TERMINAL.contains(event.getEventCase())) {
            terminal = event;
        }
    }

    private void append(TurnDelta delta) {
        if (start < 0) {
            start = delta.getByteOffset();
        }
        long end = start + text.size();
        if (delta.getByteOffset() != end) {
            throw broken("A piece of the answer of %s begins at byte %d, not at %d.", turn, delta.getByteOffset(), end);
        }
        text = text.concat(delta.getTextBytes());
    }

    /**
     * Checks that attempts only increase, and that each new one is announced. A terminal event needs no announcement, because CancelTurn may end a turn between two
     * attempts.
     */
    private void takeAttempt(TurnEvent event) {
        int next = event.getAttempt();
        boolean announces = event.hasAttemptRestarted();
        if (next < attempt) {
            throw broken("Event %d of %s belongs to attempt %d, but an event of attempt %d came before it.", event.getSeq(), turn, next, attempt);
        }
        if (announces && next == attempt) {
            throw broken("Event %d of %s announces attempt %d a second time.", event.getSeq(), turn, next);
        }
        if (!announces && attempt > 0 && next > attempt && !TERMINAL.contains(event.getEventCase())) {
            throw broken("Event %d of %s belongs to attempt %d, which was not announced.", event.getSeq(), turn, next);
        }
        attempt = next;
    }

    /** Drops the unfinished output of the attempt before. */
    private void withdraw(TurnAttemptRestarted restarted) {
        cited.removeIf(event -> event.getSeq() >= restarted.getDiscardFromSeq());
        if (!deltas) {
            return;
        }
        long keep = restarted.getKeepBytes();
        if (start < 0 || keep < start) {
            start = keep; // another reader read all of the kept text
        }
        long length = keep - start;
        if (length > text.size() || length < text.size() && (text.byteAt((int) length) & 0xC0) == 0x80) {
            throw broken("The answer of %s, with %d bytes so far, cannot be cut after %d bytes.", turn, start + text.size(), keep);
        }
        text = text.substring(0, (int) length);
    }

    /** Takes the terminal event in place of the log, which the server has pruned. */
    private List<TurnEvent> takeSnapshot(TurnSnapshot snapshot) {
        TurnEvent event = snapshot.getTerminalEvent();
        if (event.getSeq() != snapshot.getThroughSeq() || event.getSeq() <= lastSeq) {
            throw broken("%s ended with event %d, but had already sent later events.", turn, event.getSeq());
        }
        end(event);
        lastSeq = through = event.getSeq();
        return event.getEventCase() == EventCase.EVENT_NOT_SET ? List.of() : List.of(event);
    }

    /** Ends the turn with an event that replaces all text and citations. */
    void end(TurnEvent event) {
        text = ByteString.EMPTY;
        cited = List.of();
        if (event.hasAnswer()) {
            checkAnswer(event.getAnswer());
            text = event.getAnswer().getTextBytes();
        }
        terminal = event;
    }

    /** Checks the SHA-256 of an answer's text and of each citation's quote, and the citations' ranges. */
    private static void checkAnswer(TurnAnswer answer) {
        if (!sha256(answer.getTextBytes()).equals(answer.getSha256())) {
            throw broken("The answer's text does not match its SHA-256.");
        }
        int number = 0;
        for (Citation citation : answer.getCitationsList()) {
            number++;
            ByteString quote = citation.getQuoteBytes();
            var source = citation.getSourceRange();
            var range = citation.getAnswerRange();
            if (!sha256(quote).equals(citation.getSha256())) {
                throw broken("The quote of citation %d does not match its SHA-256.", number);
            }
            boolean found = citation.getQuoteOrigin() != QuoteOrigin.QUOTE_ORIGIN_NOT_FOUND;
            if ((found ? source.getEnd() - source.getStart() : 0) != quote.size()) {
                throw broken("The quote of citation %d is not as long as its range in the source.", number);
            }
            if (range.getStart() < 0 || range.getStart() > range.getEnd() || range.getEnd() > answer.getTextBytes().size()) {
                throw broken("Citation %d points beyond the answer's text.", number);
            }
        }
    }

    private static ByteString sha256(ByteString bytes) {
        MessageDigest digest = newSha256();
        bytes.asReadOnlyByteBufferList().forEach(digest::update);
        return ByteString.copyFrom(digest.digest());
    }

    static MessageDigest newSha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e); // every Java has it
        }
    }
}
