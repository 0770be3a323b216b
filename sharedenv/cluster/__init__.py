"""Slurm: an array job over a run's list, and where it stands; the share of an array task under any scheduler."""
