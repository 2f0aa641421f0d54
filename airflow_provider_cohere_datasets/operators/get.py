"""Returns what is known of one dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cohere_datasets.core.filters import check_flags
from airflow_provider_cohere_datasets.core.urls import without_queries
from airflow_provider_cohere_datasets.hooks.errors import airflow_errors
from airflow_provider_cohere_datasets.lineage.datasets import read
from airflow_provider_cohere_datasets.operators.base import CohereDatasetsOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cohere_datasets.core.selection import DatasetRef

#: More validation warnings do not belong into XCom; there may be one for each row.
MAX_WARNINGS = 100
#: Nor do more samples of a part, or more characters of one.
MAX_SAMPLES, MAX_SAMPLE = 10, 1000
#: Text of the user, in which nothing is changed.
_USERS = ("schema",)


class CohereGetDatasetOperator(CohereDatasetsOperator):
    """Return what is known of one dataset, as small JSON (``GET /v1/datasets/{id}``).

    Samples and URLs are left out unless asked for; a URL in any other text of the API loses its query, which
    may be a signature; samples and ``schema``, which are the user's, stay as they are.
    Of the validation warnings the first 100 are kept.

    :param dataset_id: its id.
    :param include_samples: whether to return rows of the data too: the first 10 samples of each part, each cut after
        1,000 characters. Whoever may read XComs can read them.
    :param include_urls: whether to return the URLs of the parts too. They are signed, so for some 12 hours they are
        secrets: whoever may read XComs can download the data, without an API key. XComs are stored as they are, and
        Airflow masks nothing in them.
    :raises CohereInputError: if it cannot be an id, before any request.
    :raises CohereDatasetNotFoundError: if there is no such dataset.
    """

    template_fields = (*CohereDatasetsOperator.template_fields, "dataset_id")

    def __init__(
        self, *, dataset_id: DatasetRef, include_samples: bool = False, include_urls: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id: Any = dataset_id
        self.include_samples = include_samples
        self.include_urls = include_urls
        with airflow_errors():
            check_flags(include_samples=include_samples, include_urls=include_urls)

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the dataset."""
        dataset = self.hook.get_dataset(self.dataset_id)
        self.record_lineage(self.hook, read([dataset.id], self.hook.account.base_url))
        hidden = (() if self.include_samples else ("samples",)) + (() if self.include_urls else ("url", "urls"))
        known = dataset.model_dump(mode="json", by_alias=True, exclude_none=True)
        result: dict[str, Any] = _shareable(known, hidden, whole=self.include_urls)
        warnings = result.get("validation_warnings", ())
        if len(warnings) > MAX_WARNINGS:
            more = len(warnings) - MAX_WARNINGS
            result["validation_warnings"] = [*warnings[:MAX_WARNINGS], f"... and {more} more"]
        return result


def _shareable(value: Any, hidden: tuple[str, ...], *, whole: bool) -> Any:
    """Return JSON as it may go to XCom, also in fields new to us.

    :param value: the JSON; of samples only a few stay.
    :param hidden: how the names of fields end that are left out.
    :param whole: whether URLs keep their queries, which may be signatures.
    """
    if isinstance(value, dict):
        shared = {}
        for name, item in value.items():
            if not name.lower().endswith(hidden):
                few = name.lower().endswith("samples") and isinstance(item, list)
                shared[name] = _few(item) if few else _shareable(item, hidden, whole=whole or name in _USERS)
        return shared
    if isinstance(value, list):
        return [_shareable(item, hidden, whole=whole) for item in value]
    return without_queries(value) if isinstance(value, str) and not whole else value


def _few(samples: list[Any]) -> list[str]:
    texts = [sample if isinstance(sample, str) else str(sample) for sample in samples[:MAX_SAMPLES]]
    return [text if len(text) <= MAX_SAMPLE else f"{text[:MAX_SAMPLE]}…" for text in texts]
