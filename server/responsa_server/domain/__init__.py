"""The domain as plain data. This package imports only the standard library and no other package of the project, so that
all other packages can import it.
"""
