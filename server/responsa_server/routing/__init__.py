"""Intents: a classifier of messages that is trained from examples, stored as plain arrays and measured."""
