"""What every start does."""
