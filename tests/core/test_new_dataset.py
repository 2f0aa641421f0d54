"""What is asked of Cohere when a dataset is created."""

from __future__ import annotations

import pytest

from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.core.new_dataset import DATASET_TYPES, NewDataset


def query(**values: object) -> list[tuple[str, str]]:
    return NewDataset.of(**{"name": "reviews", "dataset_type": "embed-input", **values}).query()  # type: ignore[arg-type]


def test_only_what_is_set_is_sent() -> None:
    assert query() == [("name", "reviews"), ("type", "embed-input")]
    empty = {"keep_fields": "", "optional_fields": [], "text_separator": ""}
    assert query(**empty) == query()


def test_everything_is_sent_as_the_api_spells_it() -> None:
    assert query(
        name=" reviews ",
        keep_original_file=True,
        skip_malformed_input=False,
        keep_fields=["a", "b"],
        optional_fields=("c",),
        text_separator="\n\n",
        csv_delimiter="\t",
    ) == [
        ("name", "reviews"),
        ("type", "embed-input"),
        ("keep_original_file", "true"),
        ("skip_malformed_input", "false"),
        ("keep_fields", "a"),
        ("keep_fields", "b"),
        ("optional_fields", "c"),
        ("text_separator", "\n\n"),
        ("csv_delimiter", "\t"),
    ]


@pytest.mark.parametrize("argument", ["keep_fields", "optional_fields"])
def test_fields_that_can_be_read_only_once(argument: str) -> None:
    for fields in (map(str, ["a", "b"]), (name for name in "ab")):
        assert query(**{argument: fields})[2:] == [(argument, "a"), (argument, "b")]


def test_the_fields_of_a_set_have_one_order() -> None:
    """Its own differs from process to process, and a retry would take it for other arguments."""
    names = [f"field-{number:02}" for number in range(30)]
    for kind in (set, frozenset, dict.fromkeys):
        assert [value for _, value in query(keep_fields=kind(names))[2:]] == names
    assert [value for _, value in query(keep_fields=names[::-1])[2:]] == names[::-1]


@pytest.mark.parametrize("kind", [*DATASET_TYPES, "made-tomorrow"])
def test_the_type_is_open(kind: str) -> None:
    assert query(dataset_type=kind)[1] == ("type", kind)


def test_names_have_49_characters_at_most() -> None:
    assert query(name="ü" * 49)[0] == ("name", "ü" * 49)
    with pytest.raises(CohereInputError, match="has 50 characters; Cohere takes at most 49"):
        query(name="ü" * 50)


@pytest.mark.parametrize(
    ("argument", "value", "words"),
    [
        ("name", "", "name is empty"),
        ("name", None, "name is empty"),
        ("name", "None", 'the text "None"'),
        ("name", 5, "must be a text, not int"),
        ("dataset_type", " ", "dataset_type is empty"),
        ("dataset_type", None, "dataset_type is empty"),
        ("dataset_type", "None", 'the text "None"'),
        ("keep_original_file", "False", "must be True or False, not 'False'"),
        ("keep_original_file", 0, "must be True or False, not 0"),
        ("skip_malformed_input", "True", "must be True or False, not 'True'"),
        ("skip_malformed_input", "", "must be True or False, not ''"),
        ("csv_delimiter", ";;", "must be one character"),
        ("csv_delimiter", "", "must be one character"),
        ("csv_delimiter", 5, "must be a text, not int"),
        ("text_separator", ["a"], "must be a text, not list"),
        ("keep_fields", "a,b", "must be a list of field names"),
        ("keep_fields", ["a", ""], "must be a list of field names"),
        ("keep_fields", (name for name in ["a", ""]), "must be a list of field names"),
        ("keep_fields", 5, "must be a list of field names"),
        ("optional_fields", [1], "must be a list of field names"),
        *((name, "a\ud83d", "half a character") for name in ("name", "dataset_type", "text_separator")),
        ("csv_delimiter", "\ud83d", "half a character"),
        ("keep_fields", ["a\ud83d"], "half a character"),
        ("optional_fields", b"ab", "must be a list of field names"),
    ],
)
def test_what_is_refused(argument: str, value: object, words: str) -> None:
    with pytest.raises(CohereInputError, match=f"^{argument} ") as got:
        query(**{argument: value})
    assert words in str(got.value)
