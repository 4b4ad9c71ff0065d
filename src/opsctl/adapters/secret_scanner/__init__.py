"""The scanner of secrets: rules as data, one fast pass, a second look; it only reads."""
