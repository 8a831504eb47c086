import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.responsa.chat.v1.AskRequest;
import com.responsa.chat.v1.ResumeTurnRequest;
import com.responsa.chat.v1.TurnEvent;
import com.responsa.client.Backoff;
import com.responsa.client.Notice;
import com.responsa.client.ResponsaClient;
import com.responsa.client.ResponsaException;
import com.responsa.client.TurnStream;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;

/**
 * Plays the cases of the conformance kit (clients/conformance) with this client.
 *
 * <p>Usage, after mvn compile: python -m clients.conformance -- java @clients/java/target/client.args clients/java/conformance/Driver.java
 */
public final class Driver {
    // The names of the fields are those of the kit.
    private static final class Order {
        String address;
        String start;
        String agent;
        String text;
        String turn;
        List<String> tokens;
        long after_seq;
        long cancel_after;
        boolean include_deltas;
        double backoff_ms;
        double silence_ms;
        double patience_ms;
        Double timeout_ms;
    }

    private static final class Result {
        String turn;
        List<Object[]> events = new ArrayList<>();
        String text;
        String sha256;
        int citations;
        String terminal;
        Failure error;
        List<Integer> places = new ArrayList<>();
        List<Double> pauses_ms = new ArrayList<>();
    }

    private record Failure(String reason, String message, List<String[]> fields, Double retry_after_ms, String turn, long after_seq) {}

    public static void main(String[] arguments) throws IOException, NoSuchAlgorithmException {
        Gson gson = new GsonBuilder().serializeNulls().create();
        var orders = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var results = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (String line; (line = orders.readLine()) != null; ) {
            results.println(gson.toJson(play(gson.fromJson(line, Order.class))));
        }
    }

    private static Result play(Order order) throws NoSuchAlgorithmException {
        Result seen = new Result();
        Deque<String> tokens = new ArrayDeque<>(order.tokens);
        Duration base = milliseconds(order.backoff_ms);
        var builder = ResponsaClient.builder()
                .url(order.address)
                .token(() -> tokens.size() > 1 ? tokens.remove() : tokens.element())
                .silence(milliseconds(order.silence_ms))
                .patience(milliseconds(order.patience_ms))
                .backoff(new Backoff(12, base, base.multipliedBy(1000), () -> 1));
        try (ResponsaClient client = builder.build(); TurnStream stream = begin(client, order)) {
            if (order.timeout_ms != null) {
                stream.withDeadlineAfter(milliseconds(order.timeout_ms));
            }
            stream.onNotice(notice -> {
                if (notice instanceof Notice.Reconnecting reconnecting) {
                    seen.pauses_ms.add(reconnecting.pause().toNanos() / 1e6);
                } else if (notice instanceof Notice.QueuePlace changed) {
                    seen.places.add(changed.place());
                }
            });
            try {
                for (TurnEvent event : stream) {
                    seen.events.add(new Object[] {event.getSeq(), kind(event)});
                    if (event.getSeq() == order.cancel_after) {
                        stream.stop();
                    }
                }
            } catch (ResponsaException e) {
                seen.error = described(e);
            }
            seen.turn = stream.turn();
            seen.text = stream.text();
            seen.citations = stream.citations().size();
            seen.terminal = stream.terminal() == null ? "" : kind(stream.terminal());
        }
        byte[] digest = MessageDigest.getInstance("SHA-256").digest(seen.text.getBytes(StandardCharsets.UTF_8));
        seen.sha256 = HexFormat.of().formatHex(digest);
        return seen;
    }

    private static TurnStream begin(ResponsaClient client, Order order) {
        if (order.start.equals("resume")) {
            return client.resume(ResumeTurnRequest.newBuilder()
                    .setTurn(order.turn)
                    .setAfterSeq(order.after_seq)
                    .setIncludeDeltas(order.include_deltas)
                    .build());
        }
        var question = AskRequest.newBuilder().setText(order.text).setIncludeDeltas(order.include_deltas);
        return client.ask(question.setAgent(order.agent.isEmpty() ? "" : "agents/" + order.agent).build());
    }

    private static String kind(TurnEvent event) {
        return event.getEventCase().name().toLowerCase(Locale.ROOT);
    }

    /** The error as the kit reads it. The errors that the client itself makes have words of the kit. */
    private static Failure described(ResponsaException error) {
        String reason = error.reason().isEmpty() ? error.kind().name().toLowerCase(Locale.ROOT) : error.reason();
        List<String[]> fields = error.violations().stream()
                .map(found -> new String[] {found.field(), found.rule(), found.description()})
                .toList();
        Double after = error.retryAfter().map(found -> found.toNanos() / 1e6).orElse(null);
        return new Failure(reason, error.getMessage(), fields, after, error.turn(), error.afterSeq());
    }

    private static Duration milliseconds(double count) {
        return Duration.ofNanos((long) (count * 1e6));
    }
}
