"""The stores, with one package or module for each kind of store. Stores import the domain and never each other."""
