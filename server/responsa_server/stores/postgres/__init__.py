"""The stores in PostgreSQL. Each store is a .py file; its named queries are in the .sql file of the same name."""
