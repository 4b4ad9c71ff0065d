"""The room that looks for secrets: in files, in git's objects, in what browsers get."""
