package com.responsa.client;

import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.DoubleSupplier;

/**
 * The waits between attempts: the n-th is random between 0 and {@code base}·2ⁿ⁻¹, at most {@code cap}, and never shorter than the server asks.
 *
 * @param attempts the repetitions of a single call; 0 for none
 * @param jitter returns numbers from 0 to 1
 */
public record Backoff(int attempts, Duration base, Duration cap, DoubleSupplier jitter) {
    /** 12 repetitions from 200 ms to 5 s, which take longer than a restart of the server. */
    public static final Backoff DEFAULT =
            new Backoff(12, Duration.ofMillis(200), Duration.ofSeconds(5), () -> ThreadLocalRandom.current().nextDouble());

    /** The waits of one call, or of one stream. */
    final class Waits {
        private int used;

        void reset() {
            used = 0;
        }

        boolean exhausted() {
            return used >= attempts;
        }

        Duration next(Duration least) {
            double longest = Math.min(cap.toNanos(), base.toNanos() * Math.pow(2, used++));
            Duration wait = Duration.ofNanos((long) (longest * jitter.getAsDouble()));
            return wait.compareTo(least) < 0 ? least : wait;
        }
    }
}
