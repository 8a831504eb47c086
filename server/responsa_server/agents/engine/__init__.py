"""The graph that answers a question: typed nodes, their kinds, and the code that runs them with LangGraph."""
