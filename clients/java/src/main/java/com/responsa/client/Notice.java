package com.responsa.client;

import java.time.Duration;

/** What happens to a stream besides its events. */
public sealed interface Notice {
    /** The number of turns that come before this one in its conversation has changed. */
    record QueuePlace(int place) implements Notice {}

    /**
     * The stream ended before the turn did. The client opens another one after a pause.
     *
     * @param cause null if the server asked for it
     */
    record Reconnecting(Duration pause, ResponsaException cause) implements Notice {}
}
