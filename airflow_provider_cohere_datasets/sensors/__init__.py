"""Sensors: wait for validation."""
