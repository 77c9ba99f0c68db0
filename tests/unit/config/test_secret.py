"""Passwords and tokens in settings: no way of writing them down shows them."""

from __future__ import annotations

import json

import msgspec
import pytest

from prom_probe.config.secret import Secret, conceal_hook, reveal_hook, without_secrets
from prom_probe.config.settings import Config, shown_settings
from prom_probe.config.sources import find_config
from prom_probe.config.target import parse_target

# Valid targets. What must not be shown contains "hunter".
VALID = (
    "a=http://user:hunter2@h/metrics",
    "a=http://hunter2@h:80",
    "a=https://hunter1:hunter2@[::1]:8000/x?format=z",
    "a=http://h/m?token=hunter2",
    "a=http://h/m?format=text&access_token=hunter2&x=hunter3",
    "a=http://h/m?%74oken=hunter2;sig=hunter3",
    "a=http://h/m?hunter2",
    "a=http://user:p%40hunter2@h/m?apikey=hunter3",
    "a=unix:/run/x.sock:/m?token=hunter2",
)
# Targets with a fault, beside a secret or within it.
FAULTY = (
    "http://user:hunter2@h/metrics",
    "a=ftp://user:hunter2@h",
    "a=http://user:hunter@hunter2@h/",
    "a=http://user:hun/hunter2@h/",
    "a=http://user:hun#hunter2@h/",
    "a=http://user:hun?hunter2@h/",
    "a=http://user:hunter2",
    "a=http://user:hunter2@",
    "a=http://user:hunter2@h:99999/",
    "a=http://user:hun hunter2@h/",
    "a=user:hunter2@h",
    "a=http://h:0/?token=hunter2",
    "a=http://h:0/?hunter2",
    "http://user:hunter2@h?x=http://h",
)


@pytest.mark.parametrize("text", VALID)
def test_valid_targets(text: str) -> None:
    """The settings in any form show `<secret>`; what is used is whole."""
    config, faults = find_config({"scrape": [text]}, {})
    assert not faults
    shown = shown_settings(config)["scrape"]
    outputs = (shown, str(config), repr(config), f"{config.scrape[0]}", f"{config.scrape}", repr(config.scrape[0]))
    for output in outputs:
        assert "hunter" not in output
        assert "<secret>" in output
    assert config.scrape[0].whole_url.reveal() == text.partition("=")[2]


@pytest.mark.parametrize("text", FAULTY)
def test_faulty_targets(text: str) -> None:
    """The fault is told without what may be the secret."""
    for environ, flags in (({}, {"scrape": [text]}), ({"PROM_PROBE_SCRAPE": text}, {})):
        _, faults = find_config(flags, environ)
        assert len(faults) == 1
        assert "hunter" not in faults[0]


def test_a_secret_in_any_form() -> None:
    """str, repr, format, JSON: `<secret>`, or an error."""
    secret = Secret("hunter2")
    assert {str(secret), repr(secret), f"{secret}", f"{secret!r:>8}", "{:s}".format(secret)} == {"<secret>"}  # noqa: UP032
    for encode in (msgspec.json.encode, msgspec.msgpack.encode, msgspec.to_builtins, json.dumps):
        with pytest.raises(TypeError) as error:
            encode(secret)
        assert "hunter" not in str(error.value)


def test_settings_for_another_process() -> None:
    """Through msgspec with the hooks they arrive whole."""
    config = Config(scrape=(parse_target("a=http://u:p@h/?token=t"),))
    encoded = msgspec.msgpack.encode(config, enc_hook=reveal_hook)
    assert msgspec.msgpack.decode(encoded, type=Config, dec_hook=conceal_hook) == config
    other = Config(scrape=(parse_target("a=http://u:q@h/?token=t"),))
    assert other != config


def test_user_and_password() -> None:
    """As curl and Go read them: percent-encoded, the first colon parts them."""
    target = parse_target("a=http://u:p%40%3A:x@h:9/m?format=a")
    assert target.endpoint == "http://h:9/m?format=a"
    assert target.authorization is not None
    assert target.authorization.reveal() == "Basic dTpwQDo6eA=="
    assert parse_target("a=http://h").authorization is None


@pytest.mark.parametrize(
    "text", ["a=http://h:8000/metrics?format=prometheus&name[]=x&collect%5B%5D=y", "--interval=2s"]
)
def test_what_is_no_secret(text: str) -> None:
    """Stays as it was written."""
    assert without_secrets(text) == text
