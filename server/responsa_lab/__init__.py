"""The laboratory: what measures and plays. Scripted providers, the testing agent, evaluation, injection."""
