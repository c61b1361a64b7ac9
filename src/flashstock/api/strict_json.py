"""JSON as RFC 8259 has it and nothing looser: UTF-8, no NaN, no name twice in one object."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Final, NoReturn

from flashstock.errors import InvalidRequest


def parse_json(body: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        InvalidRequest: the text is empty, is not UTF-8 or not JSON, holds an unreasonable number,
            is nested too deeply, or names a member twice. (Half of a surrogate pair is refused by
            the models, which know no such string.)
    """
    try:
        return _DECODER.decode(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise invalid_json("it is not UTF-8") from None
    except RecursionError:
        raise invalid_json("it is nested too deeply") from None
    except json.JSONDecodeError as problem:
        what = f"{problem.msg} (character {problem.pos})" if body.strip() else "it is empty"
        raise invalid_json(what) from None
    except ValueError as problem:
        raise invalid_json(str(problem)) from None


def invalid_json(reason: str) -> InvalidRequest:
    """The error for a body that can't be read as JSON."""
    problem = [{"field": "", "problem": reason}]
    return InvalidRequest(f"the body can't be read as JSON: {reason}", errors=problem)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        (name, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"an object names {name[:64]!r} twice")
    return members


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _integer(digits: str) -> int:
    # Python refuses some and is slow with many; nothing here takes more than 16.
    if len(digits) > 32:
        raise ValueError("a number has more than 32 digits")
    return int(digits)


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer
)
