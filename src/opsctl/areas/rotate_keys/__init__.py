"""Replace keys everywhere they are kept, see the new ones live, and only then end the old."""
