"""The testing agent, with its own model server and tool. It answers as a script says, and can be interrupted. A server
loads it only if a setting says so."""
