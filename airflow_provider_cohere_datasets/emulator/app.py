"""The HTTP face of the emulator."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import Awaitable, Callable
from pathlib import PurePath
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from airflow_provider_cohere_datasets.emulator.answers import dataset_answer, error_answer, without_zero_values
from airflow_provider_cohere_datasets.emulator.queries import CreateQuery, ListQuery
from airflow_provider_cohere_datasets.emulator.rows import FORMATS
from airflow_provider_cohere_datasets.emulator.settings import EmulatorSettings
from airflow_provider_cohere_datasets.emulator.signing import UrlSigner
from airflow_provider_cohere_datasets.emulator.store import Store, StoredDataset
from airflow_provider_cohere_datasets.emulator.validation import UploadedFile, validate

#: Validation takes long, and every other answer needs one of the worker threads, of which there are 40.
_UPLOADS_AT_ONCE = 8


def create_app(settings: EmulatorSettings, store: Store) -> FastAPI:
    """
    Make the application: the Datasets API and the downloads.

    The routes work in worker threads, so that no file ever blocks the loop.

    :param settings: the settings.
    :param store: the datasets.
    """
    # No redirects and no documentation pages: whatever is not the API is a 404 in the shape of the API.
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    app.exception_handler(StarletteHTTPException)(_http_error)
    app.exception_handler(RequestValidationError)(_parameter_error)
    app.exception_handler(Exception)(_server_error)
    signer = UrlSigner(store.signing_secret, settings.clock, settings.url_lifetime_seconds)
    app.include_router(_api_routes(settings, store, signer))
    app.include_router(_download_routes(store, signer))
    return app


def _api_routes(settings: EmulatorSettings, store: Store, signer: UrlSigner) -> APIRouter:
    api = APIRouter(prefix="/v1", dependencies=[Depends(_key_check(settings.api_keys))])
    uploads_at_once = asyncio.Semaphore(_UPLOADS_AT_ONCE)
    adding = threading.Lock()
    over_capacity = f"over capacity: {settings.max_organization_bytes} bytes for an organization"

    def describe(request: Request, dataset: StoredDataset) -> dict[str, Any]:
        def sign(dataset_id: str, file: str) -> str:
            path = f"/storage/{store.organization_id}/{store.user_id}/{dataset_id}/{file}"
            return f"{str(request.base_url).rstrip('/')}{path}?{signer.query(path)}"

        return dataset_answer(dataset, sign)

    @api.post("/check-api-key")
    def check_api_key() -> JSONResponse:
        owner = {"organization_id": store.organization_id, "owner_id": store.user_id}
        return JSONResponse({"valid": True, **owner})

    @api.post("/datasets")
    async def create(
        query: Annotated[CreateQuery, Query()],
        data: UploadFile | None = None,
        eval_data: UploadFile | None = None,
    ) -> JSONResponse:
        async with uploads_at_once:
            return await run_in_threadpool(create_now, query, data, eval_data)

    def create_now(query: CreateQuery, data: UploadFile | None, eval_data: UploadFile | None) -> JSONResponse:
        query.check()
        uploads = [_uploaded("data", data)]
        if eval_data is not None:
            uploads.append(_uploaded("eval_data", eval_data))
        size_bytes = sum(upload.size_bytes for upload in uploads)
        if size_bytes > settings.max_dataset_bytes:
            raise HTTPException(400, f"a dataset may have {settings.max_dataset_bytes} bytes, not {size_bytes}")
        if store.usage_bytes() + size_bytes > settings.max_organization_bytes:
            raise HTTPException(400, over_capacity)
        dataset_id = store.new_id(query.name)
        with store.new_folder(dataset_id) as folder:
            # Checked here and now: what the clock reveals later must not depend on how busy this machine is.
            verdict = validate(dataset_id, query, uploads, folder)
            created_us = store.now_us()
            queued, processing, settled = settings.phases_us(created_us)
            dataset = StoredDataset(
                id=dataset_id,
                name=query.name,
                dataset_type=query.type,
                created_us=created_us,
                queued_us=queued,
                processing_us=processing,
                settled_us=settled,
                outcome=verdict.outcome,
                stored_bytes=verdict.stored_bytes,
                contents=verdict.contents,
                findings=verdict.findings,
            )
            with adding:
                # What is stored is another size than the file, and others are added at the same time.
                if store.usage_bytes() + verdict.stored_bytes > settings.max_organization_bytes:
                    raise HTTPException(400, over_capacity)
                store.add([dataset])
        return JSONResponse({"id": dataset_id})

    @api.get("/datasets")
    def list_datasets(request: Request, query: Annotated[ListQuery, Query()]) -> JSONResponse:
        limit = min(query.limit or settings.page_size, settings.page_cap)
        page = store.page(query.filter(), limit, query.offset)
        return JSONResponse({"datasets": [describe(request, dataset) for dataset in page]})

    @api.get("/datasets/usage")
    def usage() -> JSONResponse:
        return JSONResponse(without_zero_values({"organization_usage": store.usage_bytes()}))

    @api.get("/datasets/{dataset_id}")
    def get(request: Request, dataset_id: str) -> JSONResponse:
        dataset = store.find(dataset_id)
        if dataset is None:
            raise HTTPException(404, f'dataset "{dataset_id}" not found')
        return JSONResponse({"dataset": describe(request, dataset)})

    @api.delete("/datasets/{dataset_id}")
    def delete(dataset_id: str) -> JSONResponse:
        if not store.remove(dataset_id):
            raise HTTPException(404, f'dataset "{dataset_id}" not found')
        return JSONResponse({})

    return api


def _download_routes(store: Store, signer: UrlSigner) -> APIRouter:
    downloads = APIRouter()

    @downloads.get("/storage/{organization_id}/{user_id}/{dataset_id}/{file}")
    def download(request: Request, dataset_id: str, file: str) -> FileResponse:
        if "authorization" in request.headers:
            # Object stores take one proof of identity, not two; and a key that got here has leaked.
            raise HTTPException(400, "a signed URL must not be sent an Authorization header")
        expires, nonce, signature = (request.query_params.get(name, "") for name in ("Expires", "Nonce", "Signature"))
        if not signer.accepts(request.url.path, expires, nonce, signature):
            raise HTTPException(403, "the signature is wrong or has expired")
        gone = HTTPException(404, "the file is gone")
        if store.find(dataset_id) is None:
            raise gone
        try:
            return _OpenFileResponse((store.folder(dataset_id) / file).open("rb"))
        except FileNotFoundError:
            raise gone from None

    return downloads


class _OpenFileResponse(FileResponse):
    """Sends a file that is open already: whoever deletes it meanwhile does not cut it short."""

    def __init__(self, file: BinaryIO) -> None:
        # This path leads to the open file, also when its own is gone.
        status = os.fstat(file.fileno())
        super().__init__(f"/dev/fd/{file.fileno()}", media_type="application/octet-stream", stat_result=status)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)


def _uploaded(field: str, upload: UploadFile | None) -> UploadedFile:
    if upload is None or not upload.size:
        raise HTTPException(400, f"{field} must be a file that is not empty")
    name = upload.filename or field
    suffix = PurePath(name).suffix.lower() or ".jsonl"
    if suffix not in FORMATS:
        raise HTTPException(400, f'{field} "{name}" must be one of {", ".join(FORMATS)}')
    return UploadedFile(name, suffix, upload.file, upload.size)


def _key_check(api_keys: tuple[str, ...]) -> Callable[[Request], Awaitable[None]]:
    accepted = [key.encode() for key in api_keys]

    async def check_key(request: Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise HTTPException(401, "no api key supplied")
        offered = key.strip().encode()
        if not any(secrets.compare_digest(offered, right) for right in accepted):
            raise HTTPException(401, "invalid api token")

    return check_key


async def _http_error(request: Request, error: StarletteHTTPException) -> JSONResponse:
    if isinstance(error.__cause__, ClientDisconnect):
        return error_answer(499, "the client closed the request before the upload was complete")
    return error_answer(error.status_code, str(error.detail), error.headers)


async def _parameter_error(request: Request, error: RequestValidationError) -> JSONResponse:
    for problem in error.errors():
        if problem["loc"][0] == "body":  # A part without a file name is a text, so FastAPI finds no file.
            return error_answer(400, f"{problem['loc'][-1]} must be a file: its part has no file name")
    complaints = (f"{problem['loc'][-1]}: {problem['msg']}" for problem in error.errors())
    return error_answer(422, "; ".join(complaints))


async def _server_error(request: Request, error: Exception) -> JSONResponse:
    return error_answer(500, "internal server error")
