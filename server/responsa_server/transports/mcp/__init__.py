"""The Model Context Protocol: search, raw documents and questions as tools, agents as prompts, collections as resources."""
