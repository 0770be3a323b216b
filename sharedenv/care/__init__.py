"""Looking after a pool: what may leave it, what is damaged, what on this machine would hurt it."""
