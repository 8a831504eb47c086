"""Untrusted documents are parsed in a process that may do nothing but compute."""
