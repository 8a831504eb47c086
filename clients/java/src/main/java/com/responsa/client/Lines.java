package com.responsa.client;

import io.grpc.Channel;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.TlsChannelCredentials;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/** The connections of a client. The first one also carries all calls that are not turns' streams. */
final class Lines {
    private static final int MAX_RECEIVE_BYTES = 16 << 20;
    /** Servers and proxies usually allow 100 streams per connection; another one would wait without an error. */
    private static final int STREAMS_PER_LINE = 90;

    private final Address address;
    private final Function<String, ManagedChannelBuilder<?>> make;
    private final List<Line> lines = new ArrayList<>();
    private boolean closed;

    /** A connection. A retired one gets no more streams. */
    static final class Line {
        final ManagedChannel channel;
        private int streams;
        private boolean retired;

        private Line(ManagedChannel channel) {
            this.channel = channel;
        }
    }

    Lines(Address address, Function<String, ManagedChannelBuilder<?>> make) {
        this.address = address;
        this.make = make != null ? make : target -> Grpc.newChannelBuilder(
                target, address.tls() ? TlsChannelCredentials.create() : InsecureChannelCredentials.create());
        lines.add(open());
    }

    private Line open() {
        ManagedChannelBuilder<?> builder = make.apply(address.target());
        if (address.local()) {
            builder.proxyDetector(target -> null);
        }
        if (address.target().startsWith("unix:")) {
            builder.overrideAuthority("localhost"); // by default, it is the path
        }
        builder.disableRetry() // the client knows which calls may be repeated
                .keepAliveTime(30, TimeUnit.SECONDS)
                .keepAliveTimeout(10, TimeUnit.SECONDS)
                .maxInboundMessageSize(MAX_RECEIVE_BYTES);
        return new Line(builder.build());
    }

    /** The connection of calls that are not turns' streams. Unless it is open, the next call connects at once, because the client has its own backoff. */
    synchronized Channel first() {
        lines.get(0).channel.resetConnectBackoff();
        return lines.get(0).channel;
    }

    /** A connection for one more stream, for {@link #give}. */
    synchronized Line take() {
        if (closed) {
            throw Calls.closedError();
        }
        for (Line line : lines) {
            if (!line.retired && line.streams < STREAMS_PER_LINE) {
                line.streams++;
                line.channel.resetConnectBackoff();
                return line;
            }
        }
        Line made = open();
        made.streams = 1;
        lines.add(made);
        return made;
    }

    synchronized void give(Line used, boolean retire) {
        used.streams--;
        used.retired |= retire;
        if (used.retired && used.streams == 0 && used != lines.get(0)) {
            lines.remove(used);
            used.channel.shutdownNow();
        }
    }

    synchronized void close() {
        closed = true;
        lines.forEach(line -> line.channel.shutdownNow());
    }

    synchronized boolean isClosed() {
        return closed;
    }
}
