"""Tests of the local Datasets API server."""
