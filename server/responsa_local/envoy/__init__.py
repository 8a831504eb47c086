"""Envoy's configuration, its local replies, and the replicas behind it."""
