"""The Lua scripts as text: what their headers say, and what their bodies do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.tidy.sources import ROOT

DIRECTORY = ROOT / "lua"
NAMES = tuple(sorted(path.stem for path in DIRECTORY.glob("*.lua")))

HEADER = re.compile(
    r"#!lua(?: flags=(?P<flags>[a-z-]+))?\n"
    r"--\[\[ (?P<name>\w+): (?P<what>[^\n]+\.)\n"
    r"KEYS  (?P<keys>.+?)\n"
    r"ARGV  (?P<argv>.+?)\n"
    r"RETURNS (?P<returns>\{.+?)\n"
    r"(?:VERDICTS  (?P<verdicts>.+?)\n)?"
    r"WHY   (?P<why>.+?\.) \]\]\n",
    re.DOTALL,
)
ITEM = re.compile(r"(?:(?<=^)|(?<=\s))(\d+)(…?) (\w+)")
CODE = re.compile(r"(?:(?<=^)|(?<=\s))(-?\d+) ([A-Z_]{2,})\b")
INCLUDE = re.compile(r"^--#include (\w+)$", re.MULTILINE)
INTEGER = re.compile(r"(?<![\w.\]'])-?\d+(?![\w.'])")
WRITES = ("HSET", "HINCRBY", "HDEL", "SET", "DEL", "ZADD", "ZREM", "XADD", "UNLINK")
WRITING_FUNCTIONS = (
    "append",
    "close_groups",
    "close_shard",
    "deadline_at_end",
    "decide_group",
    "end_seat",
    "forget_group",
    "forget_seats",
    "give_allowance_back",
    "may_pay",
    "refund",
    "release_due_waves",
    "release_expired",
    "release_seats",
    "save_groups",
    "settle_seats",
    "settled_seat",
    "take_payment",
    "write_ended",
    "write_granted",
    "write_opened",
)
DECIDING = "verdict_of|group_to_open|group_to_join|kept_out"
"""Functions that return verdicts."""


def without_comments(lua: str) -> str:
    return re.sub(r"--(?!\[\[|#)[^\n]*", "", lua)


def without_functions(lua: str) -> str:
    """The statements that run from top to bottom; functions at the left margin are left out."""
    return re.sub(r"^local function .+?^end\n", "", lua, flags=re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Script:
    """One script: the parts of its header, and its body with and without the includes."""

    name: str
    flags: str | None
    what: str
    keys: str
    argv: str
    returns: str
    verdict_line: str | None
    body: str
    whole: str

    @property
    def numbered_keys(self) -> dict[int, str]:
        fixed = self.keys.split("and for each line")[0]
        return {int(number): name for number, _, name in ITEM.findall(fixed)}

    @property
    def numbered_arguments(self) -> dict[int, str]:
        unexplained = re.sub(r"\([^)]*\)", "", self.argv)
        return {int(number): name for number, _, name in ITEM.findall(unexplained)}

    @property
    def takes_any_number_of_arguments(self) -> bool:
        return "…" in self.argv or "for each line" in self.argv

    @property
    def statuses(self) -> dict[str, int]:
        return {name: int(number) for number, name in CODE.findall(self.returns)}

    @property
    def verdicts(self) -> dict[str, int]:
        return {name: int(number) for number, name in CODE.findall(self.verdict_line or "")}

    @property
    def events(self) -> set[str]:
        """The kinds it can append. ``cancel`` is told the kind: its header lists them."""
        kinds = set(re.findall(r"append\('(\w+)'", self.whole))
        if "append(ARGV[" in self.whole:
            kinds |= set(re.findall(r"(\w+):", self.argv))
        return kinds

    @property
    def returned_statuses(self) -> set[int]:
        """Every integer that can stand first in what the top level returns."""
        lua = without_comments(self.whole)
        top = without_functions(lua)
        firsts = re.findall(r"return \{ ([^,}]+)", top)
        firsts += re.findall(r"return answer\(([^)]+)\)", top)
        if re.search(r"return answer$", top, re.MULTILINE):
            firsts += re.findall(r"local answer(?:, \w+)* = \{ ([^,]+)", top)
        if "status" in firsts:
            firsts += re.findall(r"\bstatus = (-?\d+)", top)
        return {int(number) for first in firsts for number in INTEGER.findall(first)}

    @property
    def given_verdicts(self) -> set[int]:
        """Every integer that the body gives as a verdict."""
        lua = without_comments(self.whole if self.name == "take_seats" else self.body)
        found = re.findall(r"(?:verdicts\[\w+\]|refusal|verdict) = (?!string)([^\n]+)", lua)
        for function in re.findall(rf"local function (?:{DECIDING}).+?^end", lua, re.M | re.S):
            found += re.findall(r"return ([^\n]+)", function)
        return {int(number) for text in found for number in INTEGER.findall(text)}


@cache
def script(name: str) -> Script:
    return parse((DIRECTORY / f"{name}.lua").read_text(encoding="utf-8"))


def parse(text: str) -> Script:
    """Raises ``ValueError`` where the header does not keep to its form."""
    header = HEADER.match(text)
    if header is None:
        raise ValueError("the header has no KEYS, ARGV, RETURNS and WHY in this order")
    body = text[header.end() :]
    whole = INCLUDE.sub(lambda match: include(match[1]), body)
    return Script(
        header["name"],
        header["flags"],
        header["what"],
        header["keys"],
        header["argv"],
        header["returns"],
        header["verdicts"],
        body,
        whole,
    )


@cache
def include(name: str) -> str:
    return (DIRECTORY / "include" / f"{name}.lua").read_text(encoding="utf-8")


def lua_files() -> tuple[Path, ...]:
    return tuple(sorted(DIRECTORY.rglob("*.lua")))
