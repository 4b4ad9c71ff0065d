"""The room of backups: taken in one snapshot, proven by restoring them, pruned, watched."""
