"""Maintenance: windows that are announced, tasks that are done in them, reviews that are due."""
