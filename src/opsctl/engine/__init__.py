"""Carries plans out: the journal, the lock and the run. The only code that acts."""
