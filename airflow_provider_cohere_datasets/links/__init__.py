"""Links from a task's page in Airflow to Cohere."""
