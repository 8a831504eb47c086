"""Agents: the engine that runs them, the kinds of nodes, their configuration, and the agents that are shipped."""
