"""Tools: what turns may do in the world, one file each."""
