"""The scripts and the migrations are found wherever flashstock runs from.

Builds a source archive, from that a wheel, installs it where no checkout is near, and runs it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from flashstock import __version__
from tests.tidy.sources import ROOT

pytestmark = pytest.mark.slow

SHOW_PLACES = """
import flashstock
from flashstock.hotpath.scripts import script_directory
print(flashstock.__file__)
print(script_directory())
"""

USE_BOTH_STORES = """
import asyncio, sys
import redis
from flashstock.hotpath.scripts import script_set
from flashstock.ledger.migrate import upgrade

redis_url, database_url = sys.argv[1:]
scripts = script_set(0, "1", 1000)
with redis.Redis.from_url(redis_url) as client:
    for name, text in scripts.texts.items():
        assert client.script_load(text) == scripts.shas[name]
asyncio.run(upgrade(database_url))
print(*scripts.texts)
"""


def _run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both archives. Without isolation, so that no index is asked for the build backend."""
    directory = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", directory, cwd=ROOT)
    return {path.name.rpartition(".")[2]: path for path in directory.iterdir()}


@pytest.fixture(scope="module")
def installed(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of an environment that has the wheel, and borrows its dependencies."""
    directory = tmp_path_factory.mktemp("installed")
    _run(sys.executable, "-m", "venv", "--without-pip", directory, cwd=directory)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(directory)}))
    assert site.is_dir()
    # A plain path: the .pth files in there, which lead to the checkout, are not followed.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = directory / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    _run(*pip, "install", "--quiet", "--no-index", "--no-deps", built["whl"], cwd=directory)
    return directory / "bin"


def _names_below(top: str, names: list[str]) -> set[str]:
    prefix = f"{top}/"
    return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}


def _in_checkout(directory: Path, pattern: str) -> set[str]:
    found = {str(path.relative_to(directory)) for path in directory.rglob(pattern)}
    assert found
    return found


def test_the_wheel_has_the_scripts_and_the_migrations(built):
    with zipfile.ZipFile(built["whl"]) as wheel:
        names = wheel.namelist()
    assert _in_checkout(ROOT / "lua", "*.lua") <= _names_below("flashstock/_lua", names)
    migrations = ROOT / "src" / "flashstock" / "ledger" / "migrations"
    assert _in_checkout(migrations, "*.py") <= _names_below("flashstock/ledger/migrations", names)
    assert "flashstock/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "bench/"))]


@pytest.mark.parametrize("part", ["console", "storefront"])
def test_the_wheel_has_all_that_pages_are_made_of(built, part):
    with zipfile.ZipFile(built["whl"]) as wheel:
        names = wheel.namelist()
    package = ROOT / "src" / "flashstock" / part
    assert _in_checkout(package, "static/*.*") <= _names_below(f"flashstock/{part}", names)
    assert _in_checkout(package, "templates/*.*") <= _names_below(f"flashstock/{part}", names)


def test_the_source_archive_has_the_scripts(built):
    with tarfile.open(built["gz"]) as archive:
        names = archive.getnames()
    top = f"flashstock-{__version__}"
    assert _in_checkout(ROOT / "lua", "*.lua") <= _names_below(f"{top}/lua", names)
    assert {f"{top}/Makefile", f"{top}/constraints.txt", f"{top}/LICENSE"} <= set(names)


def test_installed_it_finds_its_own_scripts(installed, tmp_path):
    package, scripts = _run(installed / "python", "-c", SHOW_PLACES, cwd=tmp_path).split()
    assert Path(package).is_relative_to(installed.parent)
    assert Path(scripts) == Path(package).parent / "_lua"


def test_in_an_editable_install_it_finds_the_scripts_of_the_checkout(tmp_path):
    package, scripts = _run(sys.executable, "-c", SHOW_PLACES, cwd=tmp_path).split()
    assert Path(package).is_relative_to(ROOT / "src")
    assert Path(scripts) == ROOT / "lua"


def test_installed_the_command_runs(installed, tmp_path):
    assert __version__ in _run(installed / "flashstock", "--version", cwd=tmp_path)


def test_installed_its_scripts_load_and_its_migrations_run(
    installed: Path, tmp_path: Path, valkey_url: str, sqlite_url: str
):
    output = _run(installed / "python", "-c", USE_BOTH_STORES, valkey_url, sqlite_url, cwd=tmp_path)
    assert set(output.split()) == {path.stem for path in (ROOT / "lua").glob("*.lua")}
    assert (tmp_path / "ledger.sqlite3").is_file()
