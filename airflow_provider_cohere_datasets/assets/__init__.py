"""Cohere's datasets as Airflow's assets, and the events of assets."""
