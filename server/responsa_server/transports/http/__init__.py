"""Connects browsers to the gRPC services: Envoy's configuration, and the HTTP features that Envoy lacks."""
