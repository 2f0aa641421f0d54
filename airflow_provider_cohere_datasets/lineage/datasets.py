"""What a task read and wrote: Cohere's datasets and files, as URIs until somebody asks.

While a task runs, only texts are kept, because importing OpenLineage takes a third of a second. OpenLineage's names:
https://openlineage.io/docs/spec/naming.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from airflow_provider_cohere_datasets.assets.datasets import HOST, SCHEME, dataset_uri

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.common.compat.sdk import BaseHook
    from airflow.providers.openlineage.extractors import OperatorLineage

#: What may stand in a path as it is (RFC 3986).
_PLAIN = "/!$&'()*+,;=:@"
#: More datasets than this are not named one by one.
MAX_NAMED = 50


class Lineage(NamedTuple):
    """What a task read and wrote.

    :param inputs: URIs of what it read.
    :param outputs: URIs of what it wrote.
    :param rows: rows that it wrote, if it wrote one thing.
    :param size: their bytes.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    rows: int | None = None
    size: int | None = None

    def report(self, hook: BaseHook) -> None:
        """Tell Airflow's collector of hook lineage; nobody listens unless a plugin such as OpenLineage's is there.

        :param hook: the hook that did it.
        """
        # This one, and not the one in common.compat.sdk, knows the names of Airflow 2.
        from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

        collector = get_hook_lineage_collector()
        for uris, add in ((self.inputs, collector.add_input_asset), (self.outputs, collector.add_output_asset)):
            for uri in uris:
                try:
                    add(context=hook, uri=uri)
                except ValueError as error:
                    # The work is done; a storage whose provider refuses the URI must not undo it.
                    hook.log.debug("No lineage for %s: %s", uri, error)

    def for_openlineage(self) -> OperatorLineage[Any, Any] | None:
        """Return this in OpenLineage's terms, or ``None`` where its provider is not installed."""
        try:
            from airflow.providers.openlineage.extractors import OperatorLineage
        except ImportError:
            return None
        return OperatorLineage(
            inputs=[_openlineage_dataset(uri) for uri in self.inputs],
            outputs=[_openlineage_dataset(uri, self.rows, self.size) for uri in self.outputs],
        )


class LineageMixin:
    """What an operator or sensor needs, so that OpenLineage learns what it read and wrote."""

    _lineage: Lineage | None = None

    def record_lineage(self, hook: BaseHook, lineage: Lineage) -> None:
        """Keep what was read and written until the task ends, and tell Airflow's collector now.

        :param hook: the hook that did it.
        :param lineage: what was read and written.
        """
        self._lineage = lineage
        lineage.report(hook)

    def get_openlineage_facets_on_complete(self, task_instance: object) -> OperatorLineage[Any, Any] | None:
        """Return what was recorded; OpenLineage asks for it when the task has ended, well or not.

        :param task_instance: the task instance, which makes no difference.
        """
        return (self._lineage or Lineage()).for_openlineage()


def created(dataset_id: str, files: Iterable[Any], host: str = HOST) -> Lineage:
    """Return the lineage of an upload: the files in, the dataset out.

    :param dataset_id: the new dataset's id.
    :param files: the paths or URLs that were uploaded; what is empty is left out.
    :param host: the API's host or base URL.
    """
    inputs = tuple(file_uri(file) for file in files if file is not None and file != "")
    return Lineage(inputs, (dataset_uri(dataset_id, host),))


def read(dataset_ids: Iterable[str], host: str = HOST) -> Lineage:
    """Return the lineage of a task that looked at datasets: the datasets in.

    :param dataset_ids: their ids. More than 50 are told as all datasets, ``cohere://<host>/datasets``: Airflow's
        collector drops what goes beyond 100 inputs of a task, and nobody reads a graph with so many.
    :param host: the API's host or base URL.
    """
    uris = tuple(dataset_uri(dataset_id, host) for dataset_id in dataset_ids)
    return Lineage(uris if len(uris) <= MAX_NAMED else (_every_dataset(host),))


def exported(summary: Mapping[str, Any], host: str = HOST) -> Lineage:
    """Return the lineage of an export: all datasets in, as ``cohere://<host>/datasets``, and the file out.

    :param summary: what the export returned: ``path``, ``rows`` and ``bytes``.
    :param host: the API's host or base URL.
    """
    file = file_uri(summary["path"])
    return Lineage((_every_dataset(host),), (file,), rows=summary["rows"], size=summary["bytes"])


def file_uri(path: object) -> str:
    """Return the URI of a file, without the connection, the signature or anything else that is not its place.

    :param path: a local path, or the path or URL of an object store.
    """
    text = str(path)
    parts = urlsplit(text)
    if "://" not in text or parts.scheme == "file":
        # Path.as_uri() would encode the "=" of a partitioned lake too, and no one else writes it that way.
        local = Path(parts.path if parts.scheme == "file" else text).absolute()
        return f"file://{quote(str(local), safe=_PLAIN)}"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _every_dataset(host: str) -> str:
    return dataset_uri("any", host).removesuffix("/any")


def _openlineage_dataset(uri: str, rows: int | None = None, size: int | None = None) -> Dataset:
    """Return something by OpenLineage's names, with the rows and bytes that were written, if they are known."""
    from airflow.providers.common.compat.openlineage.facet import (
        Dataset,
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
    )

    parts = urlsplit(uri)
    namespace, name = f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/")
    if parts.scheme == "file":
        namespace, name = "file", unquote(parts.path)
    elif parts.scheme == SCHEME:  # Keys of object stores are not percent-encoded.
        name = unquote(name)
    if rows is None:
        return Dataset(namespace=namespace, name=name)
    statistics = OutputStatisticsOutputDatasetFacet(rowCount=rows, size=size)
    return OutputDataset(namespace=namespace, name=name, outputFacets={"outputStatistics": statistics})
