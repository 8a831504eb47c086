"""The servers to compare with. Each runs in a separate process."""
