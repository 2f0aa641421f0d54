"""Triggers: the waits that run in the triggerer."""
