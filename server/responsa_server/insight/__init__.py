"""Who asks what, how well it is answered, and what is missing."""
