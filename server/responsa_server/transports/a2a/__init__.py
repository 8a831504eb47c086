"""A2A 1.0: agents for the programs of other agents, where a task is a turn and a context is a conversation."""
