"""Reading plain bodies without asking a pattern about every string in them.

A body is plain where all of it is ASCII without an escape and without DEL. JSON itself allows no
raw control characters in a string, so each string of a plain body consists of printable ASCII: what
``PRINTABLE_ASCII`` and ``NO_CONTROL_CHARACTERS`` ask of each one is known at a glance at the whole.
The patterns are nine tenths of what reading a batch costs otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

Body = TypeVar("Body", bound=msgspec.Struct)


def plain_reader(kind: type[Body]) -> Callable[[bytes], Body | None]:
    """Reads a plain body as ``kind``, its strings' patterns apart.

    The reader answers ``None`` where the body is not plain, or is no ``kind``: it is then to be
    read by the strict one, which knows what to complain of. Patterns that ask for more than
    printable ASCII are for the caller to check.
    """
    decode = msgspec.json.Decoder(_without_patterns(kind)).decode

    def read(body: bytes) -> Body | None:
        if not body.isascii() or b"\\" in body or b"\x7f" in body:
            return None
        try:
            return decode(body)
        except (msgspec.DecodeError, RecursionError):
            return None

    return read


def _without_patterns(kind: type[Body]) -> type[Body]:
    hints = get_type_hints(kind, include_extras=True)
    fields: list[Any] = []
    for field in msgspec.structs.fields(kind):
        optional = () if field.required else (field.default,)
        fields.append((field.name, _plain(hints[field.name]), *optional))
    plain: Any = msgspec.defstruct(
        f"Plain{kind.__name__}", fields, forbid_unknown_fields=True, gc=kind.__struct_config__.gc
    )
    return plain  # type: ignore[no-any-return]


def _plain(kind: Any) -> Any:
    """The type of a member without its pattern, in lists and structs too; others as they are."""
    if get_origin(kind) is Annotated:
        inner, *metas = get_args(kind)
        return Annotated[(_plain(inner), *(_unpatterned(meta) for meta in metas))]
    if get_origin(kind) is list:
        return list[_plain(get_args(kind)[0])]  # type: ignore[misc]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _without_patterns(kind)
    return kind


def _unpatterned(meta: msgspec.Meta) -> msgspec.Meta:
    if meta.pattern is None:
        return meta
    return msgspec.Meta(min_length=meta.min_length, max_length=meta.max_length)
