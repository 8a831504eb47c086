"""The HTTP calls that Envoy cannot transcode: the page, browser sessions, uploads; and what guards all HTTP."""
