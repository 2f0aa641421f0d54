"""Operators: list, get, usage, create, delete and gate."""
