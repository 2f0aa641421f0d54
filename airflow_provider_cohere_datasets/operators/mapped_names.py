"""Whether the instances of a mapped task upload under one name, so that a name does not tell whose a dataset is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cohere_datasets.operators.base import rendered_later
from airflow_provider_cohere_datasets.operators.upload_memory import number_of

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


def is_shared(context: Context, task_id: str, name: object) -> bool:
    """Return whether the mapped instances of a task may all have one name, as far as is written.

    :param name: the name of one instance, before its templates were rendered.
    """
    ti, dag = context.get("ti"), context.get("dag")
    if dag is None or number_of(ti, "map_index", -1) < 0:
        return False
    # Where only the task is mapped, the DAG knows which arguments differ; in a mapped group, what is no text may.
    task = dag.get_task(task_id)
    mapped = getattr(task, "partial_kwargs", None)
    written = name if mapped is None else mapped.get("name")
    if written is None and _is_repeated(task, name):
        written = name
    if not isinstance(written, str):
        return mapped is not None and written is not None
    # Most templates render to one text for all instances: those with ``ds`` do, for example.
    return not (rendered_later(written) and ("map_index" in written or "task." in written))


def _is_repeated(task: Any, name: object) -> bool:
    """Return whether ``expand()`` or ``expand_kwargs()`` gives one name to several instances."""
    value = getattr(getattr(task, "expand_input", None), "value", None)
    if isinstance(value, dict):  # Each name meets each of the other arguments' values.
        others = [each for argument, each in value.items() if argument != "name"]
        names = value.get("name")
        alone = all(isinstance(each, list | tuple | dict) and len(each) == 1 for each in others)
        return not alone or (isinstance(names, list | tuple) and names.count(name) > 1)
    rows = value if isinstance(value, list | tuple) else []
    return [row.get("name") for row in rows if isinstance(row, dict)].count(name) > 1
