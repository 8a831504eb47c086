"""The laboratory: scripted models, the testing agent, and evaluation. The product does not need it, except to run with the scripted models or the testing agent in `doubles`."""
