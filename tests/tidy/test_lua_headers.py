"""Headers, bodies, enums and ``lua/README.md`` say the same; what Lua tempts to is not done."""

from __future__ import annotations

import re

import pytest

from flashstock.hotpath import keys
from flashstock.hotpath.scripts import STATUSES, Verdict, key_names
from flashstock.model.events import EVENT_KINDS
from tests.tidy import scripts
from tests.tidy.scripts import NAMES, WRITES, WRITING_FUNCTIONS, script
from tests.tidy.sources import ROOT

README = (scripts.DIRECTORY / "README.md").read_text(encoding="utf-8")
PROVED_IN = ("lua", "contract/hotpath")
ALLOWED_OUT_OF_MEMORY = {
    "cancel",
    "claim_payment",
    "confirm",
    "expire",
    "leave_group",
    "pay_seat",
    "reclaim",
    "restore",
    "settle_group",
    "sweep_groups",
    "takeover",
}
"""What must work when Redis is full: whatever ends a hold or a sale's doubt, and recovery."""
KEY_EXPRESSION = re.compile(r"KEYS\[[^]]+\]|keys\.\w+|line\.\w+|\w+_key|waiting")
"""How a key is named in a body: it came in KEYS, or in a table or parameter made of KEYS."""


@pytest.mark.parametrize("name", NAMES)
def test_the_header_is_whole_and_names_its_file(name):
    assert script(name).name == name
    text = (scripts.DIRECTORY / f"{name}.lua").read_text(encoding="utf-8")
    assert text.startswith("#!lua")
    assert max(len(line) for line in text.splitlines()) <= 100


def test_a_header_that_lacks_a_part_is_seen():
    text = (scripts.DIRECTORY / "cancel.lua").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="header"):
        scripts.parse(text.replace("WHY ", "HOW "))


@pytest.mark.parametrize("name", NAMES)
def test_keys_are_those_of_the_body(name):
    numbered = script(name).numbered_keys
    used = {int(number) for number in re.findall(r"KEYS\[(\d+)\]", script(name).whole)}
    assert list(numbered) == list(range(1, len(numbered) + 1))
    assert used == set(numbered)
    assert key_names(name) == tuple(numbered.values())
    known = {*keys.SHARD_KEYS, *keys.POOL_KEYS, *keys.DIGEST_KEYS}
    assert set(numbered.values()) - known <= ({"target"} if name == "restore" else set())


def test_a_carts_lines_take_the_keys_its_body_counts_on():
    """The one script whose number of keys depends on the call."""
    per_line = script("reserve_cart").keys.split("and for each line")[1].split()
    assert [name for name in per_line if name in keys.POOL_KEYS] == per_line
    offsets = re.findall(r"(\w+) = KEYS\[key \+ (\d)\]", script("reserve_cart").body)
    assert [name for name, _ in sorted(offsets, key=lambda pair: pair[1])] == per_line


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_those_of_the_body(name):
    numbered = script(name).numbered_arguments
    literal = re.findall(r"ARGV\[(\d+)\]|unpack\(ARGV, (\d+)|index = (\d+),", script(name).body)
    used = {int(number) for groups in literal for number in groups if number}
    assert list(numbered) == list(range(1, len(numbered) + 1))
    assert ("ARGV" in script(name).body) == bool(numbered)
    if not script(name).takes_any_number_of_arguments:
        assert used == set(numbered)
    else:
        assert used <= set(numbered)


@pytest.mark.parametrize("name", NAMES)
def test_statuses_are_those_of_the_enum_and_of_the_body(name):
    enum = {member.name: member.value for member in STATUSES[name]}
    assert script(name).statuses == enum
    assert script(name).returned_statuses == set(enum.values())


def test_every_script_has_its_enum():
    assert tuple(sorted(STATUSES)) == NAMES


OF_SEATS = {verdict.name for verdict in Verdict if verdict > Verdict.GROUP_ONLY}
NOT_GIVEN = {
    "reserve": OF_SEATS | {"UNKNOWN_POOL"},
    "reserve_cart": OF_SEATS,
    "take_seats": {"UNKNOWN_POOL", "GROUP_ONLY"},
}


@pytest.mark.parametrize("name", NOT_GIVEN)
def test_verdicts_are_those_of_the_enum_and_of_the_body(name):
    enum = {v.name: v.value for v in Verdict if v.name not in NOT_GIVEN[name]}
    assert script(name).verdicts == enum
    assert script(name).given_verdicts == set(enum.values())


def test_every_event_is_written_by_a_script_and_read_by_the_model():
    """But for the one that a recovery decides, in SQL."""
    written = set().union(*(script(name).events for name in NAMES))
    assert written | {"postponed"} == EVENT_KINDS
    assert "postponed" not in written


def _rows(first: str) -> dict[str, list[str]]:
    """A table of the page, by its first column."""
    lines = README.split(f"| {first} |", 1)[1].split("\n\n")[0].splitlines()[2:]
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {row[0].strip("`"): row[1:] for row in cells}


def test_the_page_has_every_script_with_its_statuses_and_events():
    rows = _rows("script")
    assert tuple(rows) == NAMES
    for name, (statuses, events) in rows.items():
        listed = {code: int(number) for number, code in re.findall(r"(-?\d+) (\w+)", statuses)}
        assert listed == script(name).statuses, name
        assert re.findall(r"`(\w+)`", events) == sorted(script(name).events), name


def test_the_page_has_every_event_and_verdict():
    assert set(_rows("kind")) == EVENT_KINDS
    verdicts = README.split("**verdict**", 1)[1].split("\n\n")[0]
    assert {code: int(number) for number, code in re.findall(r"(\d+) ([A-Z_]+)", verdicts)} == {
        verdict.name: verdict.value for verdict in Verdict
    }


def test_only_what_must_never_wait_may_pass_the_memory_limit():
    flagged = {name for name in NAMES if script(name).flags == "allow-oom"}
    assert flagged == ALLOWED_OUT_OF_MEMORY


@pytest.mark.parametrize("name", NAMES)
def test_a_script_is_flagged_as_reading_exactly_if_it_writes_nothing(name):
    body = script(name).body
    commands = set(re.findall(r"call\('([A-Z]+)'", body))
    writes = bool(commands & set(WRITES)) or "call(ARGV[" in body
    writes = writes or any(f"{function}(" in body for function in WRITING_FUNCTIONS)
    assert (script(name).flags == "no-writes") is not writes


@pytest.mark.parametrize("name", NAMES)
def test_nothing_returns_once_something_is_written(name):
    """``due`` is an index that any sweep mends, so its writes don't count."""
    numbered = script(name).numbered_keys
    lua = scripts.without_functions(scripts.without_comments(script(name).body))
    pattern = rf"call\('(?:{'|'.join(WRITES)})', (\S+?),|\b(?:{'|'.join(WRITING_FUNCTIONS)})\("
    writes = [
        match.start()
        for match in re.finditer(pattern, lua)
        if not (
            (key := re.fullmatch(r"KEYS\[(\d+)\]", match[1] or ""))
            and numbered[int(key[1])] == "due"
        )
    ]
    if writes:
        returns = [match.start() for match in re.finditer(r"^\s*return\b", lua, re.MULTILINE)]
        assert [place for place in returns if place > writes[0]] == returns[-1:]


@pytest.mark.parametrize("name", [name for name in NAMES if script(name).events])
def test_whatever_appends_to_the_log_writes_the_sequence_last(name):
    lua = scripts.without_comments(script(name).body)
    closing = lua.rindex("close_shard()")
    last_append = lua.rfind("append(")
    assert last_append < closing
    after = lua[closing:]
    data_keys = {"pool", "reservations", "deadlines", "buyers", "retired", "command", "payment"}
    for key in re.findall(rf"call\('(?:{'|'.join(WRITES)})', KEYS\[(\d+)\]", after):
        assert script(name).numbered_keys[int(key)] not in data_keys


@pytest.mark.parametrize("path", scripts.lua_files(), ids=lambda path: path.stem)
def test_no_key_is_built_in_lua(path):
    lua = scripts.without_comments(path.read_text(encoding="utf-8"))
    used = re.findall(r"call\('([A-Z]+)',\s*(?:'STREAM', )?([^,)]+)", lua)
    strangers = [(command, key) for command, key in used if not KEY_EXPRESSION.fullmatch(key)]
    assert strangers == []
    assert "fs:" not in lua


@pytest.mark.parametrize("path", scripts.lua_files(), ids=lambda path: path.stem)
def test_nothing_lua_tempts_to(path):
    """``cjson`` and plain ``..`` round large numbers; random and os are not the script's."""
    lua = scripts.without_comments(path.read_text(encoding="utf-8"))
    assert not re.search(
        r"\bcjson\b|\btostring\b|\bmath\.random|\bos\.|\bpcall\b|\bloadstring", lua
    )
    large = r"(?:now|seq|first_seq|seq_before|deadline_ms|next_at_ms|next_due_ms|starts_at_ms)"
    assert not re.search(rf"\.\.\s*{large}\b|(?<![(\w.]){large}\s*\.\.", lua)
    for fields in re.findall(r"append\([^{)]*\{([^}]*)\}", lua):
        assert not re.search(rf"(?<![(\w]){large}\b", fields)


@pytest.mark.parametrize(
    "member",
    [f"{type(member).__name__}.{member.name}" for enum in STATUSES.values() for member in enum]
    + [f"Verdict.{verdict.name}" for verdict in Verdict],
)
def test_every_status_is_proved_on_a_real_server(member):
    """A status that no test names would be one that nobody has seen."""
    if member.endswith(".FENCED"):
        member = "every_script_is_fenced"
    texts = (
        path.read_text() for part in PROVED_IN for path in (ROOT / "tests" / part).rglob("*.py")
    )
    assert any(member in text for text in texts)
