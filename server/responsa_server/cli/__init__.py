"""The command line: one module a command, over the wire with the public Python client."""
