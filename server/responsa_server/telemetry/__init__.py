"""What the server reports about its own work: traces, stages and the table of metrics.

It imports OpenTelemetry's API alone; `app/traces.py` sets the SDK up."""
