"""Settings: defaults that run, errors that name the key, limits that fit each other."""

from __future__ import annotations

import pytest

from flashstock.config import Settings, key_of, parse_receipt_keys, unknown_keys
from flashstock.errors import ConfigurationError


def refusal(**values: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        Settings(**values)
    return caught.value.detail


def test_nothing_set_is_embedded_open_and_local():
    settings = Settings()
    assert settings.embedded
    assert settings.may_run_open
    assert settings.ledger_url == f"sqlite:///{settings.data_dir}/ledger.db"
    assert settings.data_dir.is_absolute()


def test_environment_is_read_and_an_empty_variable_is_unset(monkeypatch):
    monkeypatch.setenv("FLASHSTOCK_PORT", "9000")
    monkeypatch.setenv("FLASHSTOCK_REDIS_URL", "")
    settings = Settings()
    assert settings.port == 9000
    assert settings.redis_url is None


def test_the_command_line_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("FLASHSTOCK_PORT", "9000")
    assert Settings(port=9001).port == 9001


@pytest.mark.parametrize(
    ("values", "key", "reason"),
    [
        ({"port": 65_536}, "FLASHSTOCK_PORT", "65535"),
        ({"port": "http"}, "FLASHSTOCK_PORT", "integer"),
        ({"workers": 0}, "FLASHSTOCK_WORKERS", "greater than or equal to 1"),
        ({"shard_count": 65}, "FLASHSTOCK_SHARD_COUNT", "64"),
        ({"http_server": "twisted"}, "FLASHSTOCK_HTTP_SERVER", "'uvicorn' or 'granian'"),
        ({"host": ""}, "FLASHSTOCK_HOST", "at least 1 character"),
        ({"redis_timeout_ms": 0}, "FLASHSTOCK_REDIS_TIMEOUT_MS", "greater than or equal to 1"),
        ({"database_url": "mysql://x/y"}, "FLASHSTOCK_DATABASE_URL", "postgresql://"),
        ({"database_url": "sqlite:///:memory:"}, "FLASHSTOCK_DATABASE_URL", "needs a file"),
        ({"database_url": "sqlite://"}, "FLASHSTOCK_DATABASE_URL", "no host and no file"),
        ({"redis_url": "host:6379"}, "FLASHSTOCK_REDIS_URL", "redis://"),
        ({"redis_url": "redis://host"}, "FLASHSTOCK_DATABASE_URL", "is missing"),
        ({"redis_url": "redis+sentinel://h"}, "FLASHSTOCK_REDIS_URL", "name the service"),
        ({"redis_url": "redis+sentinel://h/a/b"}, "FLASHSTOCK_REDIS_URL", "number of a database"),
        ({"redis_url": "redis+sentinel://h,/a"}, "FLASHSTOCK_REDIS_URL", "host 2"),
        ({"redis_url": "redis+cluster://h:70000"}, "FLASHSTOCK_REDIS_URL", "host 1"),
        ({"redis_url": "redis+cluster://h/1"}, "FLASHSTOCK_REDIS_URL", "one database"),
        ({"admin_key": "short"}, "FLASHSTOCK_ADMIN_KEY", "8 to 512"),
        ({"admin_key": "correct horse"}, "FLASHSTOCK_ADMIN_KEY", "without spaces"),
        ({"receipt_keys": "no colon"}, "FLASHSTOCK_RECEIPT_KEYS", "entry 1"),
        ({"prot": 1}, "FLASHSTOCK_PROT", "is not a setting"),
        (
            {"lane_batch_max": 500, "lane_pending_max": 499},
            "FLASHSTOCK_LANE_BATCH_MAX",
            "FLASHSTOCK_LANE_PENDING_MAX",
        ),
        (
            {"lane_batch_max": 500, "writer_batch_events_max": 499},
            "FLASHSTOCK_LANE_BATCH_MAX",
            "FLASHSTOCK_WRITER_BATCH_EVENTS_MAX",
        ),
        (
            {"writer_batch_events_max": 5000, "backlog_events_max": 4999},
            "FLASHSTOCK_WRITER_BATCH_EVENTS_MAX",
            "FLASHSTOCK_BACKLOG_EVENTS_MAX",
        ),
    ],
)
def test_a_bad_value_names_its_key_and_says_what_would_do(values, key, reason):
    detail = refusal(**values)
    assert detail.startswith(f"{key}: ")
    assert reason in detail
    assert len(detail.splitlines()) == 1


def test_every_bad_key_gets_a_line_of_its_own():
    detail = refusal(port=-1, workers="many", log_level="loud")
    assert [line.split(":")[0] for line in detail.splitlines()] == [
        "FLASHSTOCK_PORT",
        "FLASHSTOCK_WORKERS",
        "FLASHSTOCK_LOG_LEVEL",
    ]


@pytest.mark.parametrize(
    "values",
    [
        {"admin_key": "hunter2"},
        {"storefront_key": "hunter2"},
        {"receipt_keys": "a:hunter2"},
        {"redis_url": "http://u:hunter2@h", "database_url": "sqlite:///x"},
        {"redis_url": "redis+sentinel://u:hunter2@h", "database_url": "sqlite:///x"},
        {"redis_url": "redis+cluster://u:hunter2@h:x", "database_url": "sqlite:///x"},
        {"database_url": "mysql://u:hunter2@h/d"},
    ],
)
def test_an_error_never_repeats_a_secret(values):
    with pytest.raises(ConfigurationError) as caught:
        Settings(**values)
    assert "hunter2" not in repr(caught.value.detail)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("redis://h:6379/1", "redis://h:6379/1"),
        ("rediss://u:p@h", "rediss://u:p@h"),
        ("unix:///run/valkey.sock", "unix:///run/valkey.sock"),
        ("valkey://h", "redis://h"),
        ("valkeys://h", "rediss://h"),
        ("valkey+sentinel://h,i/sale", "redis+sentinel://h,i/sale"),
        ("valkeys+cluster://h:1,i:2", "rediss+cluster://h:1,i:2"),
    ],
)
def test_redis_urls_are_given_to_the_client_in_the_scheme_it_knows(given, used):
    assert Settings(redis_url=given, database_url="sqlite:///x.db").redis_url == used


def test_a_database_alone_is_not_embedded_so_never_open():
    settings = Settings(database_url="postgres://u@h/d")
    assert settings.database_url == "postgresql://u@h/d"
    assert not settings.embedded
    assert not settings.may_run_open


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example.org", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(host, loopback):
    settings = Settings(host=host)
    assert settings.loopback is loopback
    assert settings.may_run_open is loopback


@pytest.mark.parametrize(
    ("values", "has_page"),
    [
        ({}, True),
        ({"storefront_page": "off"}, False),
        ({"admin_key": "correct-horse"}, False),
        ({"host": "0.0.0.0"}, False),
        ({"admin_key": "correct-horse", "storefront_page": "on"}, True),
    ],
)
def test_the_shop_for_trying_out_opens_by_itself_only_where_everything_is_open(values, has_page):
    assert Settings(**values).has_storefront_page is has_page


def test_an_admin_key_closes_the_open_mode():
    assert not Settings(admin_key="correct-horse").may_run_open


def test_children_read_back_the_same_settings(monkeypatch, tmp_path):
    settings = Settings(
        redis_url="unix:///run/a b.sock",
        database_url="sqlite:///x.db",
        stores_embedded=True,
        data_dir=tmp_path,
        admin_key="correct-horse",
        receipt_keys="k1:0123456789abcdef,k0:fedcba9876543210",
        workers=3,
        sold_out_stale_ms=0,
    )
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    child = Settings()
    assert child == settings
    assert child.embedded
    assert child.receipt_key_pairs == (("k1", b"0123456789abcdef"), ("k0", b"fedcba9876543210"))


def test_a_change_is_checked_like_a_first_value():
    assert Settings(port=1).changed(port=2).port == 2
    with pytest.raises(ConfigurationError, match="FLASHSTOCK_PORT"):
        Settings().changed(port=-2)


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    "text",
    ["", "a", "a:", ":0123456789abcdef", "a:0123456789abcdef,", "a.b:0123456789abcdef", "a:short"],
)
def test_receipt_keys_of_another_form_are_refused(text):
    with pytest.raises(ValueError, match=r"entry|fewer"):
        parse_receipt_keys(text)


def test_one_receipt_key_id_has_one_secret():
    with pytest.raises(ValueError, match="twice"):
        parse_receipt_keys("a:0123456789abcdef,a:fedcba9876543210")


def test_a_slip_in_a_name_is_noticed_and_other_tools_names_are_not():
    names = ["FLASHSTOCK_REDISURL", "FLASHSTOCK_PORT", "FLASHSTOCK_BENCH_SECONDS", "PATH"]
    assert unknown_keys(names) == [
        "FLASHSTOCK_REDISURL is not a setting; did you mean FLASHSTOCK_REDIS_URL?"
    ]


def test_every_setting_has_its_key():
    assert {key_of(field) for field in Settings.model_fields} >= {
        "FLASHSTOCK_REDIS_URL",
        "FLASHSTOCK_DATABASE_URL",
        "FLASHSTOCK_ADMIN_KEY",
    }
