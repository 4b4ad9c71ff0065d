"""What is wrong, step by step from the network to the rows."""
