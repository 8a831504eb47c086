-- The `traceparent` (W3C Trace Context) of the call that asked the question, so that every worker that runs the turn continues its trace. NULL if no traces are made.
ALTER TABLE responsa.turn ADD COLUMN traceparent text CHECK (length(traceparent) = 55);
