"""The hook: a connection's way into the Datasets API."""
