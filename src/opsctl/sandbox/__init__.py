"""An embedded world for drills, demos and tests: PostgreSQL, a sample application, its data."""
