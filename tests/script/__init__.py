"""Finding and reading scripts."""
