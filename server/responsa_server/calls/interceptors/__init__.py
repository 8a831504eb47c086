"""What every call passes through, one file each, in the one order of `chain.py`."""
