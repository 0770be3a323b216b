"""What this is."""
print(__doc__)
