"""Improves the prompt and the examples of an agent's decision on labelled messages, with DSPy. The result is a version
of the agent that does not answer."""
