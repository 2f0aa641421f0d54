"""Uploads a file as a new dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cohere_datasets.operators.base import CohereDatasetsOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context


class CohereCreateDatasetOperator(CohereDatasetsOperator):
    """Upload a file as a new dataset (``POST /v1/datasets``) and return its id.

    The file is streamed. An upload is never sent twice; where nobody can tell whether it arrived, the task fails.

    :param name: the name, under 50 characters; names may repeat.
    :param dataset_type: the type, for example ``embed-input``.
    :param data: a ``.jsonl``, ``.csv`` or ``.txt`` file: a local path or the URL of an object store.
    :param eval_data: a second file for evaluation.
    :param keep_original_file: whether Cohere keeps the file as it was uploaded.
    :param skip_malformed_input: whether rows that do not fit are dropped with a warning.
    :param keep_fields: fields to keep beside the required ones.
    :param optional_fields: the same for fields that may be missing.
    :param text_separator: what separates the entries of a ``.txt`` file.
    :param csv_delimiter: the one character that separates the columns of a ``.csv`` file.
    :raises CohereInputError: for bad arguments or files, before any request.
    :raises CohereUploadUnknownError: if nobody can tell whether the dataset was created.
    """

    template_fields = (
        *CohereDatasetsOperator.template_fields,
        "name",
        "dataset_type",
        "data",
        "eval_data",
        "keep_fields",
        "optional_fields",
    )

    def __init__(
        self,
        *,
        name: str,
        dataset_type: str,
        data: str,
        eval_data: str | None = None,
        keep_original_file: bool | None = None,
        skip_malformed_input: bool | None = None,
        keep_fields: Sequence[str] | None = None,
        optional_fields: Sequence[str] | None = None,
        text_separator: str | None = None,
        csv_delimiter: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.dataset_type = dataset_type
        self.data = data
        self.eval_data = eval_data
        self.keep_original_file = keep_original_file
        self.skip_malformed_input = skip_malformed_input
        self.keep_fields = keep_fields
        self.optional_fields = optional_fields
        self.text_separator = text_separator
        self.csv_delimiter = csv_delimiter

    def execute(self, context: Context) -> str:
        """Upload and return the id."""
        dataset_id = self.hook.create_dataset(
            name=self.name,
            dataset_type=self.dataset_type,
            data=self.data,
            eval_data=self.eval_data,
            keep_original_file=self.keep_original_file,
            skip_malformed_input=self.skip_malformed_input,
            keep_fields=self.keep_fields,
            optional_fields=self.optional_fields,
            text_separator=self.text_separator,
            csv_delimiter=self.csv_delimiter,
        )
        self.log.info("Created dataset %s from %s.", dataset_id, self.data)
        return dataset_id
