"""What tasks read and wrote, for OpenLineage and for Airflow's own collector."""
