"""The error of every parser: a kernel file that is not as its documentation says."""


class ParseError(ValueError):
    """`source` names the kernel interface ("/proc/PID/stat"), `text` is what was read."""

    def __init__(self, source: str, text: bytes) -> None:
        shown = text if len(text) <= 200 else text[:200] + b"..."
        super().__init__(f"{source}: cannot parse {shown!r}")
        self.source = source
        self.text = text
