"""What is asked of Cohere when a dataset is created; checked before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.core.filters import check_flags, checked_text, given
from airflow_provider_cohere_datasets.core.selection import is_unset

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The types that the reference lists. The set is open: an unknown one is Cohere's to refuse.
DATASET_TYPES = (
    "embed-input",
    "embed-result",
    "cluster-result",
    "cluster-outliers",
    "reranker-finetune-input",
    "single-label-classification-finetune-input",
    "chat-finetune-input",
    "multi-label-classification-finetune-input",
    "batch-chat-input",
    "batch-openai-chat-input",
    "batch-embed-v2-input",
    "batch-chat-v2-input",
)
#: Names are under 50 characters (Cohere's documentation of the create errors).
MAX_NAME = 49


@dataclass(frozen=True, slots=True)
class NewDataset:
    """The arguments of ``POST /v1/datasets`` but for the files. Build one with :meth:`of`."""

    name: str
    dataset_type: str
    keep_original_file: bool | None = None
    skip_malformed_input: bool | None = None
    keep_fields: tuple[str, ...] = ()
    optional_fields: tuple[str, ...] = ()
    text_separator: str | None = None
    csv_delimiter: str | None = None

    @classmethod
    def of(
        cls,
        *,
        name: str | None,
        dataset_type: str | None,
        keep_original_file: bool | None = None,
        skip_malformed_input: bool | None = None,
        keep_fields: Sequence[str] | None = None,
        optional_fields: Sequence[str] | None = None,
        text_separator: str | None = None,
        csv_delimiter: str | None = None,
    ) -> NewDataset:
        """Check the arguments.

        :param name: the name, under 50 characters; names may repeat.
        :param dataset_type: decides which fields are required and how they are checked.
        :param keep_original_file: whether Cohere keeps the file as it was uploaded.
        :param skip_malformed_input: whether rows that do not fit are dropped, with a warning, instead of failing the
            validation.
        :param keep_fields: fields to keep beside the required ones; each must be in the file.
        :param optional_fields: the same for fields that may be missing.
        :param text_separator: what separates the entries of a ``.txt`` file.
        :param csv_delimiter: the one character that separates the columns of a ``.csv`` file.
        :raises CohereInputError: with one sentence that names the argument.
        """
        checked_name, checked_type = given("name", name), given("dataset_type", dataset_type)
        if checked_name is None:
            raise CohereInputError("name is empty: a dataset needs a name.")
        if len(checked_name) > MAX_NAME:
            raise CohereInputError(
                f"name {checked_name[:60]!r} has {len(checked_name)} characters; Cohere takes at most {MAX_NAME}."
            )
        if checked_type is None:
            raise CohereInputError("dataset_type is empty: a dataset needs a type, for example 'embed-input'.")
        flags = {"keep_original_file": keep_original_file, "skip_malformed_input": skip_malformed_input}
        check_flags(**{argument: flag for argument, flag in flags.items() if flag is not None})
        for argument, text in (("text_separator", text_separator), ("csv_delimiter", csv_delimiter)):
            if text is not None:
                checked_text(argument, text)
        if csv_delimiter is not None and len(csv_delimiter) != 1:
            raise CohereInputError(f"csv_delimiter must be one character, not {csv_delimiter!r:.40}.")
        return cls(
            checked_name,
            checked_type,
            keep_original_file,
            skip_malformed_input,
            _names("keep_fields", keep_fields),
            _names("optional_fields", optional_fields),
            text_separator or None,
            csv_delimiter,
        )

    def query(self) -> list[tuple[str, str]]:
        """Return the query parameters; a list repeats its parameter."""
        query = [("name", self.name), ("type", self.dataset_type)]
        for name in ("keep_original_file", "skip_malformed_input"):
            value = getattr(self, name)
            if value is not None:
                query.append((name, "true" if value else "false"))
        query += [("keep_fields", name) for name in self.keep_fields]
        query += [("optional_fields", name) for name in self.optional_fields]
        query += [(n, v) for n in ("text_separator", "csv_delimiter") if (v := getattr(self, n)) is not None]
        return query


def _names(argument: str, value: Any) -> tuple[str, ...]:
    if is_unset(value):
        return ()
    listed = isinstance(value, Iterable) and not isinstance(value, str | bytes)
    names = tuple(value) if listed else ()  # Some can be read only once.
    if not listed or not all(isinstance(name, str) and name.strip() for name in names):
        raise CohereInputError(f"{argument} must be a list of field names, not {value!r:.60}.")
    if isinstance(value, Set):  # Its order differs from process to process; a retry would find other arguments.
        names = tuple(sorted(names))
    return tuple(checked_text(argument, name) for name in names)
