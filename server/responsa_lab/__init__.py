"""The laboratory: scripted models, the testing agent, and evaluation. The product needs this package only to run with
the scripted models or the testing agent, which `doubles` provides."""
