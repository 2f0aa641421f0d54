"""The Datasets API as data: no Airflow, no HTTP library, no clock and no pyarrow."""
