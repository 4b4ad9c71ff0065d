"""The nouns of opsctl: actions, plans, reports, errors, settings. Imports nothing of ours."""
