"""Tests of `diagnose`; a package, so that they share what stands in conftest."""
