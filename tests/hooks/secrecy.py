"""Everything that Airflow and the libraries say, without Airflow's masking to hide what should not be said."""

from __future__ import annotations

import logging

import pytest

from tests.versions import AIRFLOW

#: A key that stands nowhere by chance.
SECRET = "co-Sup3rSecret-0123456789"
LIBRARIES = ("urllib3", "requests", "httpx", "httpcore", "asyncio", "fsspec", "airflow", "airflow.task")
#: Where this Airflow masks.
MASKERS = (
    ["airflow.utils.log.secrets_masker"]
    if AIRFLOW < (3, 0)
    else ["airflow.sdk._shared.secrets_masker", "airflow._shared.secrets_masker"]
)


class Ear:
    """Hears standard logging at DEBUG, and what Airflow writes to the streams of the process.

    :param caplog: pytest's record of standard logging.
    :param capfd: pytest's record of the streams.
    """

    def __init__(self, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
        self._caplog = caplog
        self._capfd = capfd
        for name in ("", *LIBRARIES):
            caplog.set_level(logging.DEBUG, logger=name)

    def heard(self) -> str:
        """Return all that was said since the last time, with the arguments of each record."""
        records = [f"{vars(record)}" for record in self._caplog.records]
        self._caplog.clear()
        streams = self._capfd.readouterr()
        return "\n".join([*records, streams.out, streams.err])


def unmask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep Airflow from masking the keys of connections: what hides there stays visible elsewhere."""
    for package in MASKERS:
        monkeypatch.setattr(f"{package}.SecretsMasker.add_mask", lambda *_, **__: None)
        monkeypatch.setattr(f"{package}.SecretsMasker.redact", lambda _, item, *__, **___: item)
