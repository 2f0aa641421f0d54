"""What is sent for a selection of datasets, and what comes through a server that ignores it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from airflow_provider_cohere_datasets.core.dataset_page import DatasetPage, read_page
from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.core.filters import ListFilters
from airflow_provider_cohere_datasets.core.paging import list_pages
from tests.adversary import AdversarialServer, Listing, make_dataset, make_datasets, timestamp
from tests.transport.conftest import LIST, Connect
from tests.transport.harness import Blocking, Client

START = datetime(2026, 3, 1, tzinfo=UTC)


def test_nothing_is_sent_that_is_not_set(server: AdversarialServer, client: Client) -> None:
    client.page(ListFilters.of(dataset_type="", validation_status=" ", before=None, after=""))
    assert server.requests[0].query == [("limit", "100"), ("offset", "0")]


def test_everything_is_sent_in_the_names_of_the_api(server: AdversarialServer, client: Client) -> None:
    filters = ListFilters.of(
        dataset_type="a new&type",
        validation_status="validated",
        after="2026-03-01",
        before=datetime(2026, 3, 2, 1, 30, tzinfo=timezone(timedelta(hours=1, minutes=30))),
    )
    client.page(filters, limit=7, offset=3)
    assert dict(server.requests[0].query) == {
        "datasetType": "a new&type",
        "validationStatus": "validated",
        # A second more on both sides, because nobody knows whether the server includes the ends.
        "after": "2026-02-28T23:59:59.000000Z",
        "before": "2026-03-02T00:00:01.000000Z",
        "limit": "7",
        "offset": "3",
    }
    assert "datasetType=a%20new%26type" in server.requests[0].raw_target


def test_wrong_arguments_cost_no_request(server: AdversarialServer, client: Client) -> None:
    for wrong in ({"validation_status": "done"}, {"after": "None"}, {"after": "2026-02-01", "before": "2026-01-01"}):
        with pytest.raises(CohereInputError):
            client.page(ListFilters.of(**wrong))
    assert server.count() == 0


@pytest.mark.parametrize("after_inclusive", [True, False])
@pytest.mark.parametrize("before_inclusive", [True, False])
@pytest.mark.parametrize("ignored", [(), ("after", "before", "datasetType", "validationStatus")])
def test_windows_are_half_open_whatever_the_server_thinks(
    server: AdversarialServer,
    connector: type[Client],
    after_inclusive: bool,
    before_inclusive: bool,
    ignored: tuple[str, ...],
) -> None:
    micro = timedelta(microseconds=1)
    end = START + timedelta(days=1)
    moments = {"early": START - micro, "first": START, "last": end - micro, "late": end}
    rows = [make_dataset(n, created_at=timestamp(at), id=name) for n, (name, at) in enumerate(moments.items())]
    rows.append(make_dataset(5, created_at=timestamp(START), id="other-type", type="chat-finetune-input"))
    rows.append(make_dataset(6, created_at=timestamp(START), id="other-status", status="failed"))
    server.reset(
        rows, Listing(after_inclusive=after_inclusive, before_inclusive=before_inclusive, ignore_filters=ignored)
    )
    client = connector("blocking")
    filters = ListFilters.of(dataset_type="embed-input", validation_status="validated", after=START, before=end)
    assert isinstance(client.driver, Blocking)
    pages: list[DatasetPage] = list(
        client.driver.transport.stream(list_pages(read_page, filters=filters, policy=client.account.policy))
    )
    assert {dataset.id for page in pages for dataset in page.datasets} == {"first", "last"}
    assert server.count("GET", LIST) == server.count() > 0
    for request in server.requests:
        assert request.param("after") == "2026-02-28T23:59:59.000000Z", "on every page"
        assert request.param("before") == "2026-03-02T00:00:01.000000Z"


def test_the_page_that_was_asked_for(server: AdversarialServer, connect: Connect) -> None:
    server.reset(make_datasets(10), Listing(order="oldest"))
    page = connect().page(limit=3, offset=4)
    assert [dataset.name for dataset in page.datasets] == ["dataset 4", "dataset 5", "dataset 6"]
