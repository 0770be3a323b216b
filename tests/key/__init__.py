"""What decides an environment."""
