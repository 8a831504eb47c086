"""The command line. Its commands call a server through the public Python client."""
