"""Files in and out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from flashstock import errors
from flashstock.api.csv_routing import CSV_ANSWER, CSV_BODY, CsvBodyOf, CsvRoute
from flashstock.api.documents_imports import ImportDocument
from flashstock.api.notice_routing import NoticesOf
from flashstock.api.openapi import REPLAYED, problems
from flashstock.api.routing import NO_STORE, IdempotencyKeyOf, OpsRoute, PrincipalOf, answer
from flashstock.imports.exports import ExportKind, ExportLayout
from flashstock.imports.service import ImportKind

taking = APIRouter(prefix="/v1/imports", tags=["imports"], route_class=CsvRoute)
giving = APIRouter(prefix="/v1/exports", tags=["imports"], route_class=OpsRoute)


class ImportQuery(BaseModel):
    """How to import."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = Field(default=False, description="Only say what would be done.")


class ExportQuery(BaseModel):
    """How to export."""

    model_config = ConfigDict(extra="forbid")

    layout: ExportLayout = Field(
        default=ExportLayout.OWN, description="`shopify` is Shopify's inventory CSV, of stock only."
    )


@taking.post(
    "/{kind}",
    summary="Import a file",
    openapi_extra=CSV_BODY,
    responses={
        200: {"model": ImportDocument, "headers": REPLAYED},
        **problems(
            errors.FileRefused,
            errors.IdempotencyKeyRequired,
            errors.IdempotencyMismatch,
            writes=True,
        ),
    },
)
async def import_file(
    kind: Annotated[ImportKind, Path()],
    query: Annotated[ImportQuery, Query()],
    body: CsvBodyOf,
    notices: NoticesOf,
    principal: PrincipalOf,
    key: IdempotencyKeyOf,
) -> Response:
    """All of it, or nothing: a refusal names lines and columns. `skus` and `stock` also take
    Shopify's inventory file. A dry run is refused for the same reasons, and leaves nothing behind.
    """
    imported = await notices.imports.run(kind, body, principal.name, key, dry_run=query.dry_run)
    return answer(imported.document, replayed=imported.replayed)


@giving.get(
    "/{kind}.csv",
    summary="Export everything of a kind",
    responses={
        200: {"content": CSV_ANSWER, "description": "CSV, streamed."},
        **problems(errors.InvalidRequest),
    },
)
async def export_file(
    kind: Annotated[ExportKind, Path()],
    query: Annotated[ExportQuery, Query()],
    notices: NoticesOf,
) -> Response:
    """Cells that a spreadsheet would take for a formula have an apostrophe before them; imports
    leave it out again.
    """
    lines = notices.exports.lines(kind, query.layout)
    header = await anext(lines)
    first = await anext(lines, "")  # a store that is away is a 503, not half a file
    disposition = f'attachment; filename="{kind.value}.csv"'
    return StreamingResponse(
        _all(header, first, lines),
        media_type="text/csv; charset=utf-8",
        headers={**NO_STORE, "Content-Disposition": disposition},
    )


async def _all(header: str, first: str, lines: AsyncIterator[str]) -> AsyncIterator[str]:
    yield header
    yield first
    async for line in lines:
        yield line
