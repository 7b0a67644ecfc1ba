"""Do on the backend what has to be done there, from a durable list."""
