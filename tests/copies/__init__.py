"""Archives and node-local copies."""
