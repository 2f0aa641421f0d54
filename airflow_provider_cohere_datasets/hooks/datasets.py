"""The hook for Cohere's Datasets API."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_cohere_datasets.core.errors import (
    CohereAuthenticationError,
    CohereDatasetNotFoundError,
    CohereDatasetsError,
    CohereInputError,
    CoherePermissionError,
    CohereQuotaError,
)
from airflow_provider_cohere_datasets.core.limits import DEFAULT_PAGE_SIZE, QUOTA
from airflow_provider_cohere_datasets.hooks import configuration
from airflow_provider_cohere_datasets.hooks.errors import airflow_errors, for_airflow

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from datetime import datetime

    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_cohere_datasets.core.account import Account
    from airflow_provider_cohere_datasets.core.calls import Call, Flow, Reply
    from airflow_provider_cohere_datasets.core.creation import Creation
    from airflow_provider_cohere_datasets.core.filters import ListFilters
    from airflow_provider_cohere_datasets.core.models import Dataset
    from airflow_provider_cohere_datasets.core.page import Page
    from airflow_provider_cohere_datasets.core.paging import ListReport
    from airflow_provider_cohere_datasets.lake.source import Source
    from airflow_provider_cohere_datasets.transport.blocking import BlockingTransport
    from airflow_provider_cohere_datasets.transport.nonblocking import NonblockingTransport

    P = TypeVar("P", bound=Page)

T = TypeVar("T")


class CohereDatasetsHook(BaseHook):
    """Talks to Cohere's Datasets API (``/v1/datasets``).

    Every method raises the errors of :mod:`airflow_provider_cohere_datasets.core.errors`; the permanent ones are also
    ``AirflowFailException``, so Airflow does not retry a task that cannot succeed. Where there is no connection, it is
    Airflow's ``AirflowNotFoundException``.

    :param conn_id: a connection of type ``cohere_datasets`` or ``cohere``: the API key is its password, the base URL
        its host (Cohere's production if empty). Nothing is read from ``CO_API_KEY`` or ``CO_API_URL``.
    :param request_policy: values of :class:`~airflow_provider_cohere_datasets.core.account.RequestPolicy` by name, for
        example ``{"max_tries": 3, "total_timeout": 30}``; they win over those in the connection's extra.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "cohere_default"
    conn_type = "cohere_datasets"
    hook_name = "Cohere Datasets"

    def __init__(self, conn_id: str = default_conn_name, *, request_policy: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.request_policy = request_policy
        self._transport: BlockingTransport | None = None

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the connection form for Airflow below 3.2, which does not read it from the provider's metadata."""
        from airflow_provider_cohere_datasets.get_provider_info import UI_FIELD_BEHAVIOUR

        return {name.replace("-", "_"): value for name, value in UI_FIELD_BEHAVIOUR.items()}

    def account_of(self, connection: Connection) -> Account:
        """Return the key, the base URL and the policy of a connection.

        :param connection: the connection, however it was fetched.
        :raises CohereInputError: if it is not usable; the message names the field.
        """
        from dataclasses import fields

        from airflow_provider_cohere_datasets.core.account import Account, RequestPolicy

        extra = connection.extra_dejson
        if not isinstance(extra, dict):
            raise CohereInputError(
                f"The extra of connection {self.conn_id!r} must be a JSON object, not a {type(extra).__name__}."
            )
        known = [field.name for field in fields(RequestPolicy)]
        if not isinstance(self.request_policy or {}, Mapping):
            raise CohereInputError(f"request_policy must be a mapping, not {self.request_policy!r:.40}.")
        for name in self.request_policy or ():
            if name not in known:
                raise CohereInputError(f"request_policy has no value {name!r:.40}, only {', '.join(known)}.")
        return Account.of(
            conn_id=self.conn_id,
            host=connection.host,
            password=connection.password,
            schema=connection.schema,
            port=connection.port,
            extra=extra,
            defaults={"requests_per_minute": configuration.configured("requests_per_minute", None)},
            overrides=self.request_policy,
        )

    @cached_property
    def account(self) -> Account:
        """The key, the base URL and the policy, read once.

        :raises CohereInputError: if the connection is not usable.
        :raises AirflowNotFoundException: if it does not exist.
        """
        with airflow_errors():
            return self.account_of(self.get_connection(self.conn_id))

    def get_conn(self) -> BlockingTransport:
        """Return the transport, which is made once for a hook.

        :raises CohereInputError: if the connection is not usable.
        :raises AirflowNotFoundException: if it does not exist.
        """
        if self._transport is None:
            from airflow_provider_cohere_datasets.transport.blocking import BlockingTransport

            account = self.account
            with airflow_errors():
                self._transport = BlockingTransport(account)
        return self._transport

    def has_another_key(self) -> bool:
        """Read the connection anew, and return whether it has changed since it was read last."""
        used = self.account
        del self.account
        self._transport = None
        return self.account != used

    async def get_async_conn(self) -> NonblockingTransport:
        """Return a new transport for the running event loop; close it with ``async with``.

        :raises CohereInputError: if the connection is not usable.
        :raises AirflowNotFoundException: if it does not exist.
        """
        import asyncio

        from airflow.providers.common.compat.connection import get_async_connection

        connection = await get_async_connection(self.conn_id, hook=self)

        def build() -> NonblockingTransport:
            # Imports the HTTP library and reads the certificates: too slow for an event loop that others share.
            from airflow_provider_cohere_datasets.transport.nonblocking import NonblockingTransport

            return NonblockingTransport(self.account_of(connection))

        with airflow_errors():
            return await asyncio.to_thread(build)

    def run(self, flow: Flow[T]) -> T:
        """Run one of core's flows on this connection.

        :raises CohereDatasetsError: whatever the flow raises, in Airflow's terms.
        """
        transport = self.get_conn()
        with airflow_errors(self.conn_id):
            return transport.run(flow)

    def _exchange(self, build: Callable[[], Call], read: Callable[[Call, Reply], T], max_tries: int | None = None) -> T:
        from dataclasses import replace

        from airflow_provider_cohere_datasets.core.retries import exchange

        with airflow_errors():
            call = build()  # Bad input is found before the connection is even looked at.
        policy = self.get_conn().account.policy
        return self.run(exchange(call, read, replace(policy, max_tries=max_tries or policy.max_tries)))

    def stream_pages(
        self,
        read: Callable[[Call, Reply], P],
        *,
        filters: ListFilters,
        page_size: int = DEFAULT_PAGE_SIZE,
        limit: int | None = None,
        require_complete: bool = True,
    ) -> Generator[P, None, ListReport]:
        """Yield the pages of the list, decoded by ``read``, and return how the reading went.

        If ``read`` has a method ``prepare``, it gets each success that came before it was asked for, in another thread,
        and returns what ``read`` shall get instead.
        See :func:`airflow_provider_cohere_datasets.core.paging.list_pages` for the parameters and the errors.
        """
        from airflow_provider_cohere_datasets.core.paging import list_pages

        transport = self.get_conn()
        before = transport.requests
        with airflow_errors(self.conn_id):
            report = yield from transport.stream(
                list_pages(
                    read,
                    filters=filters,
                    policy=transport.account.policy,
                    page_size=page_size,
                    limit=limit,
                    require_complete=require_complete,
                ),
                getattr(read, "prepare", None),
            )
        report.requests = transport.requests - before
        return report

    def list_datasets(
        self,
        *,
        dataset_type: str | None = None,
        validation_status: str | None = None,
        before: str | datetime | None = None,
        after: str | datetime | None = None,
        page_size: int | str | None = None,
        limit: int | None = None,
        require_complete: bool = True,
    ) -> list[Dataset]:
        """Return every dataset that matches, each once, however the server pages (``GET /v1/datasets``).

        :param dataset_type: only this type.
        :param validation_status: only this status: unknown, queued, processing, failed, validated or skipped.
        :param before: only datasets created before this time; a time without a zone is UTC.
        :param after: only datasets created at or after this time.
        :param page_size: rows to ask for at a time; ``[cohere_datasets] page_size`` by default, 100 if not set.
        :param limit: rows at the most.
        :param require_complete: whether a list that cannot be proved complete is an error, or a warning in the log.
        :raises CohereInputError: for bad arguments, before any request.
        :raises CohereListingError: if the list cannot be proved complete.
        """
        from airflow_provider_cohere_datasets.core.dataset_page import read_page
        from airflow_provider_cohere_datasets.core.filters import ListFilters

        with airflow_errors():
            filters = ListFilters.of(
                dataset_type=dataset_type, validation_status=validation_status, before=before, after=after
            )
            size = configuration.page_size(page_size)
        pages = self.stream_pages(
            read_page, filters=filters, page_size=size, limit=limit, require_complete=require_complete
        )
        datasets: list[Dataset] = []
        while True:
            try:
                datasets += next(pages).datasets
            except StopIteration as stop:
                for note in stop.value.notes:
                    self.log.warning(note)
                return datasets

    def get_dataset(self, dataset_id: str) -> Dataset:
        """Return one dataset (``GET /v1/datasets/{id}``).

        :param dataset_id: its id.
        :raises CohereInputError: if it cannot be an id, before any request.
        :raises CohereDatasetNotFoundError: if there is no such dataset.
        """
        from airflow_provider_cohere_datasets.core import calls

        return self._exchange(lambda: calls.get_dataset(dataset_id), calls.read_dataset)

    def get_usage(self) -> int:
        """Return the bytes that the organisation stores (``GET /v1/datasets/usage``); the quota is 10 GB."""
        from airflow_provider_cohere_datasets.core import calls

        return self._exchange(calls.get_usage, calls.read_usage)

    @contextmanager
    def creation(self, *, data: Source, eval_data: Source | None = None, **options: Any) -> Iterator[Creation]:
        """Check a dataset that is to be created, and yield what can be sent until the context ends.

        The parameters and the errors about input are those of :meth:`create_dataset`.
        """
        from airflow_provider_cohere_datasets.core.creation import Creation
        from airflow_provider_cohere_datasets.core.new_dataset import NewDataset
        from airflow_provider_cohere_datasets.lake.source import uploads_of

        with ExitStack() as stack:
            with airflow_errors():
                new = NewDataset.of(**options)
                uploads = stack.enter_context(uploads_of(data, eval_data))
            yield Creation(new, uploads)

    def create_dataset(
        self, *, name: str, dataset_type: str, data: Source, eval_data: Source | None = None, **options: Any
    ) -> str:
        """Upload a dataset and return its id (``POST /v1/datasets``). An upload is never sent twice.

        Where the answer is lost, the dataset is looked for in the list, by its name, type and time.

        :param name: the name, under 50 characters; names may repeat.
        :param dataset_type: the type, for example ``embed-input``.
        :param data: a ``.jsonl``, ``.csv``, ``.txt`` or ``.parquet`` file: a local path or the URL of an object store;
            or a table of pyarrow, pandas or polars. Files are streamed; Parquet and tables are converted to JSON Lines
            first.
        :param eval_data: the same for evaluation.
        :param options: ``keep_original_file``, whether Cohere keeps the file as it was uploaded;
            ``skip_malformed_input``, whether rows that do not fit are dropped with a warning; ``keep_fields``, fields
            to keep beside the required ones; ``optional_fields``, the same for fields that may be missing;
            ``text_separator``, what separates the entries of a ``.txt`` file; ``csv_delimiter``, the one character that
            separates the columns of a ``.csv`` file.
        :raises CohereInputError: for bad arguments or files, before any request.
        :raises CohereStorageError: if the storage of a file fails in a way that may pass, or there is no room to
            convert.
        :raises CohereUploadUnknownError: if nobody can tell whether the dataset was created.
        """
        from airflow_provider_cohere_datasets.core.creation import Attempt, create

        with self.creation(name=name, dataset_type=dataset_type, data=data, eval_data=eval_data, **options) as new:
            return self.run(create(new, self.get_conn().account.policy, Attempt(time.time())))

    def check_room(self, size: int) -> None:
        """Check that the organisation has room for an upload (``GET /v1/datasets/usage``).

        :param size: bytes.
        :raises CohereInputError: if there is less left of the 10 GB.
        """
        try:
            usage = self.get_usage()
        except (CohereAuthenticationError, CoherePermissionError, CohereQuotaError):
            raise  # The upload would end so too.
        except CohereDatasetsError as error:
            self.log.warning("It is not known how much the organisation stores: %s", error)
            return
        if usage + size > QUOTA:
            message = (
                f"The upload has {size} bytes, but only {max(0, QUOTA - usage)} are left of the {QUOTA} bytes that"
            )
            raise for_airflow(CohereInputError(f"{message} the organisation may store."), self.conn_id)

    def delete_dataset(self, dataset_id: str, *, ignore_missing: bool = True) -> bool:
        """Delete a dataset (``DELETE /v1/datasets/{id}``).

        :param dataset_id: its id.
        :param ignore_missing: whether a dataset that is gone already is fine.
        :returns: whether there was one to delete.
        :raises CohereInputError: if it cannot be an id, before any request.
        :raises CohereDatasetNotFoundError: if it is gone and ``ignore_missing`` is false.
        """
        from airflow_provider_cohere_datasets.core.calls import delete_dataset
        from airflow_provider_cohere_datasets.core.deletion import deletion

        with airflow_errors():
            call = delete_dataset(dataset_id)
        try:
            self.run(deletion(call, self.get_conn().account.policy))
        except CohereDatasetNotFoundError:
            if not ignore_missing:
                raise
            return False
        return True

    def test_connection(self) -> tuple[bool, str]:
        """Check the connection with one free call (``POST /v1/check-api-key``).

        :returns: whether it works, and one sentence for the person who pressed the button.
        """
        from airflow_provider_cohere_datasets.core import calls

        try:
            # One try: whoever pressed the button waits for it, and can press it again.
            answer = self._exchange(calls.check_api_key, calls.read_key_check, max_tries=1)
        except CohereDatasetsError as error:
            if error.status != 404:
                return False, str(error)
            base_url = self.get_conn().account.base_url
            return False, f"There is no Cohere API at {base_url}: check the base URL in the connection's host."
        except Exception as error:  # The button shows what is returned, so nothing may escape.
            return False, f"{type(error).__name__}: {error}"
        if not answer["valid"]:
            return False, f"Cohere says that the API key of connection {self.conn_id!r} is not valid."
        organisation = answer.get("organization_id")
        of = f" of organisation {organisation}" if isinstance(organisation, str) and organisation else ""
        return True, f"The API key{of} is valid."
