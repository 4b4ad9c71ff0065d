"""The scanner of secrets: rules as data, one fast pass, a second look. It reads and never writes."""
