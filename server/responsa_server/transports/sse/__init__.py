"""Server-sent events: the streams of turns for browsers and for HTTP-only clients. docs/streams.md describes the client's side."""
