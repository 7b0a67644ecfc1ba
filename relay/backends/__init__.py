"""What stands behind the relay: the backend of the admin, and the stand-in where there is none."""
