"""Something to interrupt: an agent that answers by a script, with a model's server and a tool of its own. Loaded by a setting alone."""
