"""Connections from the server to the hosts that its configuration names: the addresses that may be reached, and a
client that checks each address when it connects."""
