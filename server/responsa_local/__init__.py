"""The commands that work on this machine: servers, Envoy in front of them, and the parts that run beside them."""
