"""The error of a setting that cannot be used."""


class ConfigError(ValueError):
    """A setting that cannot be used; the text names its place and what would be right.

    `status` is the exit status: 2 for a setting that is wrong in itself, 1 for one that this machine does not allow.
    """

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.status = status
