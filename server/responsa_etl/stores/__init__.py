"""The statements on the tables of sources, their runs, their deliveries and profiles."""
