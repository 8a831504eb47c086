"""What is kept, and where: one package a kind of store. Stores import the domain and never each other."""
