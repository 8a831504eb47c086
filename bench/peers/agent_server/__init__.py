"""What LangGraph Agent Server's in-memory development server is given to run."""
