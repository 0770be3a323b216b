"""`sharedenv report`: one file that a browser opens from disk."""
