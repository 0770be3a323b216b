"""Slurm: array jobs over a frozen list of scripts."""
