"""The laboratory: scripted models, the testing agent, and evaluation. The product runs without it, except for the parts in `doubles`."""
