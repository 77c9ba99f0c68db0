"""Stands for nvidia-ml-py's module: every function answers from a table."""

from __future__ import annotations

import ctypes
import struct
from collections import Counter
from collections.abc import Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

ERRORS = {
    "SUCCESS": 0,  # nvidia-ml-py raises it where a list is empty
    "UNINITIALIZED": 1,
    "INVALID_ARGUMENT": 2,
    "NOT_SUPPORTED": 3,
    "NO_PERMISSION": 4,
    "NOT_FOUND": 6,
    "TIMEOUT": 10,
    "LIBRARY_NOT_FOUND": 12,
    "FUNCTION_NOT_FOUND": 13,
    "GPU_IS_LOST": 15,
    "LIB_RM_VERSION_MISMATCH": 18,
    "UNKNOWN": 999,
}


class FakeError(Exception):
    """NVMLError."""

    def __init__(self, value: int) -> None:
        super().__init__(f"error {value}")
        self.value = value


class FakePynvml:
    """`answers` by (function, device, further arguments ...), by (function, device), or by function.

    A string among them is the name of the error that the call raises, if it is one; what has no answer is not
    supported. `fields` by device and number: nvmlValueType_t, return code, and the eight bytes of the value.
    """

    def __init__(self, devices: int = 1) -> None:
        for name, value in ERRORS.items():
            setattr(self, f"NVML_ERROR_{name}", value)
        self.NVMLError = FakeError
        self.calls: Counter[str] = Counter()
        self.events: list[tuple[int, int]] = []  # device, Xid
        self.fields: dict[tuple[int, int], tuple[int, int, bytes]] = {}
        self.answers: dict[object, object] = {
            "nvmlInitWithFlags": None,
            "nvmlShutdown": None,
            "nvmlSystemGetDriverVersion": "550.54.15",
            "nvmlDeviceGetCount": devices,
            "nvmlEventSetCreate": "events",
            "nvmlEventSetFree": None,
            "nvmlDeviceRegisterEvents": None,
            "nvmlDeviceGetMigMode": (0, 0),
            "nvmlDeviceGetTemperatureV": "FUNCTION_NOT_FOUND",
            "nvmlDeviceGetProcessesUtilizationInfo": "FUNCTION_NOT_FOUND",
            "nvmlDeviceGetComputeRunningProcesses_v3": [],
        }
        for device in range(devices):
            self.answers |= {
                ("nvmlDeviceGetUUID", device): f"GPU-{device}",
                ("nvmlDeviceGetName", device): "H100",
                ("nvmlDeviceGetPciInfo_v3", device): SimpleNamespace(busId=f"00000000:0{device + 1}:00.0"),
            }

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml"):
            raise AttributeError(name)
        return partial(getattr(type(self), f"_{name}", None) or type(self)._answer, self, name)

    def _answer(self, name: str, *arguments: object) -> object:
        self.calls[name] += 1
        numbers = tuple(a.value - 1 if isinstance(a, ctypes.c_void_p) and a.value else a for a in arguments)
        keys = ((name, *numbers), (name, *numbers[:1]), name)
        answer = next((self.answers[key] for key in keys if key in self.answers), "NOT_SUPPORTED")
        if isinstance(answer, str) and answer in ERRORS:
            raise FakeError(ERRORS[answer])
        return answer

    def _nvmlDeviceGetHandleByIndex(self, name: str, index: int) -> object:
        self._answer("nvmlInitWithFlags")
        self.answers.setdefault((name, index), None)
        self._answer(name, index)
        return ctypes.c_void_p(index + 1)

    def _nvmlDeviceGetFieldValues(self, name: str, handle: ctypes.c_void_p, wanted: list[tuple[int, int]]) -> bytes:
        self.answers.setdefault(name, None)
        self._answer(name, handle)
        assert handle.value is not None
        device = handle.value - 1
        data = b""
        for number, scope in wanted:
            kind, code, value = self.fields.get((device, number), (3, ERRORS["NOT_SUPPORTED"], bytes(8)))
            data += struct.pack("@IIqqII", number, scope, 0, 0, kind, code) + value
        return data

    def _nvmlEventSetWait_v2(self, name: str, events: object, timeout_ms: int) -> object:
        assert timeout_ms == 0
        if not self.events:
            raise FakeError(ERRORS["TIMEOUT"])
        device, xid = self.events.pop(0)
        return SimpleNamespace(device=ctypes.c_void_p(device + 1), eventData=xid)


def process(pid: int, used: int | None) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=used)


def utilization(pid: int, time_us: int, sm: int, encoder: int = 0, decoder: int = 0) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, timeStamp=time_us, smUtil=sm, encUtil=encoder, decUtil=decoder)


def memory(total: int, used: int, reserved: int = 0) -> SimpleNamespace:
    return SimpleNamespace(total=total, used=used, reserved=reserved)


def number(value: float, code: str = "Q", kind: int = 3) -> tuple[int, int, bytes]:
    """A field's answer: `value` as struct's `code`, of nvmlValueType_t `kind`."""
    return kind, 0, struct.pack(f"<{code}", value).ljust(8, b"\0")


def answers(fake: FakePynvml, device: int, values: Mapping[str, object]) -> None:
    """Answers of one device's functions."""
    fake.answers |= {(name, device): value for name, value in values.items()}
