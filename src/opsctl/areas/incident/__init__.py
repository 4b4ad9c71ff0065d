"""Incidents from the first sign to the post-mortem: who is told what, when, and what was done."""
