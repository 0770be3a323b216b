"""What users and programs read: text on stderr, JSON on stdout."""
