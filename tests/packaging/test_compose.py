"""The compose file says what the code understands.

It stands in for `docker compose config` and for a start of the stack where there is no engine:
it sees a service, a variable, a flag or a health check that does not fit, not whether an image
builds.
"""

from __future__ import annotations

import ast
import re
from urllib.parse import urlsplit

import pytest
import yaml
from typer.testing import CliRunner

from flashstock.cli.commands import app
from flashstock.config import ENVIRONMENT_PREFIX, Settings, key_of
from tests.tidy.sources import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES = COMPOSE["services"]
OWN = {name: service for name, service in SERVICES.items() if service.get("build")}
ENDS_BY_ITSELF = {"migrate"}

_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(:-(?P<default>[^}]*)|:\?[^}]*)?\}")


def _filled(text: str, **given: str) -> str:
    """What Compose would pass on, with these variables set in the shell."""
    return _VARIABLE.sub(lambda match: given.get(match["name"]) or match["default"] or "", text)


def test_the_services_are_all_there():
    stores, watching = {"valkey", "postgres"}, {"prometheus", "grafana", "jaeger"}
    assert SERVICES.keys() == OWN.keys() | stores | watching
    assert OWN.keys() == {"migrate", "writer", "api"}


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - ENDS_BY_ITSELF))
def test_a_service_that_stays_has_a_health_check_and_comes_back(name):
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] in {"CMD", "CMD-SHELL"}
    assert {"interval", "timeout", "retries"} <= check.keys()
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", OWN)
def test_it_waits_for_what_can_be_waited_for(name):
    for other, how in SERVICES[name]["depends_on"].items():
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
        else:
            assert how["condition"] == "service_completed_successfully"
            assert other in ENDS_BY_ITSELF


@pytest.mark.parametrize("name", OWN)
def test_its_variables_are_settings_and_its_values_are_valid(name):
    environment = {
        key: value for key, value in OWN[name]["environment"].items() if not key.startswith("OTEL_")
    }
    known = {key_of(field): field for field in Settings.model_fields}
    assert environment.keys() <= known.keys()
    values = {
        known[key]: filled
        for key, value in environment.items()
        if (filled := _filled(value, FLASHSTOCK_ADMIN_KEY="an-admin-key"))
    }
    settings = Settings(**values)
    assert settings.redis_url == "redis://valkey:6379/0"
    assert (settings.database_url or "").endswith("@postgres:5432/flashstock")
    assert settings.tracing


def test_every_setting_that_is_read_from_the_shell_exists():
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    names = {match["name"] for match in _VARIABLE.finditer(text)}
    ours = {name for name in names if name.startswith(ENVIRONMENT_PREFIX)}
    assert ours
    assert ours <= {key_of(field) for field in Settings.model_fields}


@pytest.mark.parametrize("name", ["api", "writer"])
def test_its_command_exists_with_these_flags(name):
    command, *arguments = SERVICES[name]["command"]
    help_text = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert help_text.exit_code == 0
    flags = [argument for argument in arguments if argument.startswith("--")]
    assert [flag for flag in flags if flag not in help_text.output] == []


def test_only_the_api_leaves_the_log_to_the_writer():
    assert "--no-writer" in SERVICES["api"]["command"]


def test_the_python_in_it_is_python():
    programs = [SERVICES["migrate"]["command"][0]]
    programs += [OWN[name]["healthcheck"]["test"][-1] for name in ("api", "writer")]
    for program in programs:
        ast.parse(program)


def test_valkey_forgets_nothing_under_pressure():
    command = SERVICES["valkey"]["command"]
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    assert command[command.index("--appendonly") + 1] == "yes"


def test_data_is_on_named_volumes():
    mounted = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
    }
    named = {volume for volume in mounted if not volume.startswith("./")}
    assert named == COMPOSE["volumes"].keys() == {"valkey", "postgres", "prometheus", "grafana"}


def test_what_is_mounted_from_the_checkout_is_there_and_stays_as_it_is():
    found = [
        volume.split(":")
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    ]
    assert len(found) == 3
    for source, _, *mode in found:
        assert (ROOT / source).is_dir()
        assert mode == ["ro"]


def test_prometheus_scrapes_the_api_and_finds_its_rules():
    settings = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
    (job,) = [job for job in settings["scrape_configs"] if job["job_name"] == "flashstock"]
    (target,) = job["static_configs"][0]["targets"]
    name, port = target.split(":")
    arguments = SERVICES[name]["command"]
    assert port == arguments[arguments.index("--port") + 1]
    for rules in settings["rule_files"]:
        assert (ROOT / "deploy/prometheus" / rules).is_file()


def test_grafana_is_given_the_sources_that_run_and_the_dashboard():
    provisioning = ROOT / "deploy/grafana/provisioning"
    sources = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text("utf-8"))
    hosts = {urlsplit(one["url"]).hostname for one in sources["datasources"]}
    assert hosts == {"prometheus", "jaeger"} <= SERVICES.keys()
    boards = yaml.safe_load((provisioning / "dashboards/flashstock.yml").read_text("utf-8"))
    mounted = dict(volume.split(":")[1::-1] for volume in SERVICES["grafana"]["volumes"])
    assert mounted[boards["providers"][0]["options"]["path"]] == "./deploy/grafana/dashboards"


def test_traces_go_where_somebody_listens():
    for name in OWN:
        endpoint = OWN[name]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"]
        assert endpoint == "http://jaeger:4318"
    assert "[tracing]" in (ROOT / "Dockerfile").read_text("utf-8")


def test_only_the_api_is_open_to_others():
    ports = {name: service.get("ports", []) for name, service in SERVICES.items()}
    assert ports.pop("api")
    assert all(one.startswith("127.0.0.1:") for listed in ports.values() for one in listed)


def test_the_image_copies_only_what_the_build_context_has():
    """A file that .dockerignore keeps out can't be copied in."""
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.M)
    sources = {source.split("/")[0] for line in copied for source in line.split()}
    assert sources
    assert sources <= kept
