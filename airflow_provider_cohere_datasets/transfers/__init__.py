"""Operators that move datasets from Cohere to somewhere else."""
