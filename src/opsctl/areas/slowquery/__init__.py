"""Which queries are slow between two moments."""
