"""Operators for Cohere's Datasets API."""

from __future__ import annotations

from airflow_provider_cohere_datasets.operators.create import CohereCreateDatasetOperator
from airflow_provider_cohere_datasets.operators.delete import CohereDeleteDatasetOperator
from airflow_provider_cohere_datasets.operators.gate import CohereDatasetGateOperator
from airflow_provider_cohere_datasets.operators.get import CohereGetDatasetOperator
from airflow_provider_cohere_datasets.operators.list import CohereListDatasetsOperator
from airflow_provider_cohere_datasets.operators.usage import CohereGetDatasetUsageOperator

__all__ = [
    "CohereCreateDatasetOperator",
    "CohereDatasetGateOperator",
    "CohereDeleteDatasetOperator",
    "CohereGetDatasetOperator",
    "CohereGetDatasetUsageOperator",
    "CohereListDatasetsOperator",
]
