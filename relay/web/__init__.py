"""The doors that speak HTTP; one module a door."""
