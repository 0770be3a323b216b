"""prune, verify, doctor."""
