"""Tools that turns may call, one file for each kind."""
