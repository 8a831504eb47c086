"""The HTTP calls that Envoy cannot transcode (the page, browser sessions, uploads), and the checks for all HTTP requests."""
