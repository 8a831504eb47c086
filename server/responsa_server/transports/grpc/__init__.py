"""gRPC: the server, metadata and trailers."""
