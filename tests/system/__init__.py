"""A real Airflow, with its scheduler, triggerer and API server, against the emulator."""
