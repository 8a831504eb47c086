"""The servers that the bench compares with this server. Each runs in a separate process."""
