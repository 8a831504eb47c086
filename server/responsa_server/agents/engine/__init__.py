"""The graph that answers a question: typed nodes, a table of them, and LangGraph to run it."""
