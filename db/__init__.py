"""Keep values in PostgreSQL; every line of SQL in the project is in this package."""
