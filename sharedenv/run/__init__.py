"""Running scripts: a batch of them, N at a time, with a journal."""
