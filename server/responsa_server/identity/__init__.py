"""The identity of callers: credentials, sessions, users and tenants."""
