"""Everything kept in PostgreSQL. Each store is a .py file with its queries, named, in the .sql file of the same name."""
