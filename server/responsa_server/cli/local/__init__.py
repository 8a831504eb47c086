"""Commands that need no running server: they start one, prepare its database, or maintain the machine."""
