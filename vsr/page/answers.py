"""What the page's interface answers: JSON, or an error with its way out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from vsr.errors import VsrError

__all__ = ["Refusal", "answer", "read_body", "read_json", "refuse", "to_json"]

_LONGEST_ORDER = 64 * 1024  # bytes of JSON
ORDER_SECONDS = 30.0


class Refusal(VsrError):
    """A request that is not granted; `status` is HTTP's."""

    def __init__(self, status: int, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


def to_json(facts: Any) -> str:
    """JSON on one line, in ASCII: names that are no Unicode (lone surrogates) have no other form.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(facts, separators=(",", ":"), allow_nan=False)


def answer(facts: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(to_json(facts), status, headers, "application/json")


def refuse(status: int, message: str, hint: str | None = None, headers: Mapping[str, str] | None = None) -> Response:
    return answer({"error": message, "hint": hint}, status, headers)


async def read_body(request: Request) -> bytes:
    """The body of a short request.

    Raises:
        Refusal: it is not short, or does not come.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(ORDER_SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > _LONGEST_ORDER:
                    raise Refusal(413, "that is more than an order takes")
    except TimeoutError as exc:
        raise Refusal(408, "the order did not come to its end") from exc
    return bytes(body)


async def read_json(request: Request) -> dict[str, Any]:
    """The JSON object that a request carries; an empty body is an empty object.

    Raises:
        Refusal: it carries something else, or too much.
    """
    body = await read_body(request)
    try:
        order = json.loads(body or b"{}")
    except (ValueError, RecursionError) as exc:
        raise Refusal(400, f"that is no JSON: {exc}") from exc
    if not isinstance(order, dict):
        raise Refusal(400, "that is JSON, but no object")
    return order
