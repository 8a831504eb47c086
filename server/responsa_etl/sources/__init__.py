"""Sources: databases whose rows become documents."""
