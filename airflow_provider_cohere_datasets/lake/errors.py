"""What can go wrong between the API and the lake."""

from __future__ import annotations

from airflow_provider_cohere_datasets.core.errors import CohereDatasetsError

__all__ = ["CohereBadRowError", "CohereEmptyExportError", "CohereStorageError"]


class CohereStorageError(CohereDatasetsError):
    """A file could not be read or written just now: a full disk, a broken connection to the storage, or the like."""

    permanent = False


class CohereBadRowError(CohereDatasetsError):
    """A row could not be read exactly, and ``on_bad_row="fail"`` was asked for."""


class CohereEmptyExportError(CohereDatasetsError):
    """There was no dataset to export, and ``if_empty="fail"`` was asked for."""

    permanent = False
