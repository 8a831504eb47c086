"""The interceptors that every call passes through, one file each. `chain.py` holds their order."""
