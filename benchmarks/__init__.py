"""Measurements of the provider beside the usual way, each in one run."""
