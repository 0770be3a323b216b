"""Slurm and Grid Engine."""
