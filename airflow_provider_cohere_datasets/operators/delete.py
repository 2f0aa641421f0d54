"""Deletes datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cohere_datasets.operators.base import CohereDatasetsOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class CohereDeleteDatasetOperator(CohereDatasetsOperator):
    """Delete a dataset (``DELETE /v1/datasets/{id}``).

    :param dataset_id: its id.
    :param ignore_missing: whether a dataset that is gone already counts as done.
    :raises CohereInputError: if it cannot be an id, before any request.
    :raises CohereDatasetNotFoundError: if it is gone and ``ignore_missing`` is false.
    """

    template_fields = (*CohereDatasetsOperator.template_fields, "dataset_id")

    def __init__(self, *, dataset_id: str, ignore_missing: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.ignore_missing = ignore_missing

    def execute(self, context: Context) -> None:
        """Delete the dataset."""
        deleted = self.hook.delete_dataset(self.dataset_id, ignore_missing=self.ignore_missing)
        self.log.info("Dataset %s %s.", self.dataset_id, "is deleted" if deleted else "was gone already")
