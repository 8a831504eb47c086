"""The graph that LangGraph Agent Server's in-memory development server runs."""
