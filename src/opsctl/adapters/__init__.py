"""One file per outside tool. Reading runs now; writing returns an Action and runs nothing."""
