package com.responsa.client;

import java.net.URI;
import java.net.URISyntaxException;
import java.util.Map;

/**
 * A server's address.
 *
 * @param target the address in gRPC's form
 * @param local whether the server is on this machine
 */
record Address(String target, boolean tls, boolean local) {
    private static final Map<String, Integer> PORTS = Map.of("http", 80, "https", 443);

    /** Reads http://host:port, https://host:port, host:port or unix:/path/of/socket. Throws IllegalArgumentException, which says what to write. */
    static Address parse(String text) {
        if (text.matches("unix:/*[^/].*")) {
            return new Address(text, false, true);
        }
        boolean bare = !text.contains("://");
        String wrong = "\"" + text + "\" is not the address of a server; write http://host:port or https://host:port";
        URI parts;
        try {
            parts = new URI(bare ? "http://" + text : text);
        } catch (URISyntaxException e) {
            throw new IllegalArgumentException(wrong, e);
        }
        String host = parts.getHost();
        boolean more = parts.getQuery() != null || parts.getFragment() != null || parts.getUserInfo() != null;
        if (host == null || more || !parts.getPath().matches("/?") || !PORTS.containsKey(parts.getScheme())) {
            throw new IllegalArgumentException(wrong);
        }
        if (bare && parts.getPort() < 0) {
            throw new IllegalArgumentException("\"%s\" has no port; write %s:8080 or http://%s".formatted(text, text, text));
        }
        int port = parts.getPort() < 0 ? PORTS.get(parts.getScheme()) : parts.getPort();
        boolean local = host.equals("localhost") || host.equals("[::1]") || host.matches("127(\\.\\d+){3}");
        // In a target, which is a URI too, gRPC reads the brackets of an IPv6 address only if they are escaped.
        String name = host.replace("[", "%5B").replace("]", "%5D");
        return new Address("dns:///" + name + ":" + port, parts.getScheme().equals("https"), local);
    }
}
