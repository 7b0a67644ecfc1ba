"""Do on the backend what has to be done there, and look at what it says was uploaded, from a durable list."""
