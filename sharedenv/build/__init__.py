"""Making environments: uv, the Python, the versions, the last steps before one is published."""
