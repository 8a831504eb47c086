"""Intents: a classifier of messages, its training from examples, and its storage as plain arrays."""
