"""What `run.json` beside stored samples says of their run."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any

import msgspec

FILE = "run.json"


def read_run_record(path: str) -> dict[str, Any]:
    """The facts of the run in a stored directory, as `/api/v1/run` has them; {} if they were not written."""
    try:
        with open(os.path.join(path, FILE), "rb") as stream:
            found = msgspec.json.decode(stream.read())
    except (OSError, msgspec.DecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def describe_exit(record: Mapping[str, Any]) -> str:
    """How the run's COMMAND ended: "0", "killed by SIGKILL"; "" if that is not known."""
    if number := record.get("signal"):
        known = number in {int(each) for each in signal.Signals}
        return f"killed by {signal.Signals(number).name if known else f'signal {number}'}"
    status = record.get("exit_status")
    return "" if status is None else str(status)
