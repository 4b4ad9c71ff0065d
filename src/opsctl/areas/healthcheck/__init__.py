"""Is the environment well: its endpoints and its database, looked at once."""
