"""Agents: the engine that runs them, the kinds of nodes, their configuration, and the shipped agents."""
