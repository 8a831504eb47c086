"""Everything put together: the only place that knows the concrete adapters and reads the environment."""
