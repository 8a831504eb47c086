"""Search: candidates, ranking, evidence, and the sentences that answer."""
