"""Models. One file each; wiring chooses."""
