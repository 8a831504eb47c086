"""The interceptors that calls pass through, in one file per task. `calls/contract.py` sets their order."""
