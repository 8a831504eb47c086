"""The HTTP requests that are not calls of the contract (the page, browser sessions, uploads), and the checks for all HTTP requests."""
