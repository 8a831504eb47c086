"""The sample of an aptitude service; README.md describes it."""
