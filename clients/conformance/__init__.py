"""The conformance kit of the resume protocol: cases, a server that plays them, and a runner for any client. README.md describes the kit."""
