"""The API of OpenAI: chat completions, responses, models and embeddings, over the calls of the contract."""
