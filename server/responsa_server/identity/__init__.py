"""Who calls: credentials, sessions, users and tenants."""
