"""What stands between browsers and the gRPC services: Envoy's configuration, and the HTTP side that Envoy cannot do."""
