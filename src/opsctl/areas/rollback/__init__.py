"""Roll back what was deployed: the database's migrations, proven first and with a way back."""
