"""Commands that need no running server: they start a server, prepare its database, or maintain the instance."""
