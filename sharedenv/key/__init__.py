"""What decides an environment: metadata and settings in normal form, and the key that they hash to."""
