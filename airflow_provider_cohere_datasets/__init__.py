"""Airflow provider for Cohere's Datasets API."""

__version__ = "0.1.0"
