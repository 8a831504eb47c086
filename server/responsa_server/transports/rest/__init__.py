"""REST: the calls of the contract as HTTP requests with JSON, as their option google.api.http says."""
