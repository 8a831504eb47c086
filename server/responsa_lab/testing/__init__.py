"""The testing agent, which answers by a script and can be interrupted, with its own model server and tool. Only a setting loads it."""
