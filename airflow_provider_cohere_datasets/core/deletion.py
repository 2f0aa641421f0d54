"""Deletes a dataset, and knows what a 404 means after an answer that was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_cohere_datasets.core.calls import Reply, TransportFailure, read_deleted
from airflow_provider_cohere_datasets.core.errors import CohereDatasetNotFoundError
from airflow_provider_cohere_datasets.core.retries import exchange

if TYPE_CHECKING:
    from airflow_provider_cohere_datasets.core.account import RequestPolicy
    from airflow_provider_cohere_datasets.core.calls import Call, Flow, Outcome


def deletion(call: Call, policy: RequestPolicy) -> Flow[None]:
    """Send a call that deletes, until it is done.

    :param call: the call.
    :param policy: tries and deadlines.
    :raises CohereDatasetNotFoundError: if the dataset was gone before the first try. After a try that may have
        deleted it, a 404 is what that try achieved.
    """
    flow = exchange(call, read_deleted, policy)
    outcome: Outcome = None
    perhaps_deleted = False
    try:
        while True:
            outcome = yield flow.send(outcome)
            perhaps_deleted = perhaps_deleted or _may_have_deleted(outcome)
    except StopIteration:
        return
    except CohereDatasetNotFoundError:
        if not perhaps_deleted:
            raise


def _may_have_deleted(outcome: Outcome) -> bool:
    if isinstance(outcome, TransportFailure):
        return outcome.sent
    # A redirect and a refusal deleted nothing; a server or a gateway that failed or was too slow may have.
    return isinstance(outcome, Reply) and (outcome.status in {408, 499} or not 300 <= outcome.status < 500)
