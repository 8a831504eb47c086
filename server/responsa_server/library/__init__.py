"""Collections, documents, versions and operations, as callers use them."""
