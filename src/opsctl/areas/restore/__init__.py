"""The room of restores: beside the old database, proven, then swapped; the old one is kept."""
