"""What the server reports about its own work: traces. It imports OpenTelemetry's API alone; `app/traces.py` sets the SDK up."""
