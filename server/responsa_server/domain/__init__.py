"""The domain as plain data. It uses only the standard library and imports no other package of the project; all of them
import it.
"""
