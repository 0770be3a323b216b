"""Copies of environments on node-local disk, and the archives that they are made from."""
