"""Look through what a server has already stored."""
