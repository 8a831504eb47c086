"""Server-sent events: the streams of turns for browsers and for clients that speak HTTP alone. docs/streams.md shows what clients see."""
