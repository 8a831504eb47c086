"""The stores: one package for each kind of store. Stores import the domain and never each other."""
