"""What is wrong with a page as a whole."""


class ExpositionError(Exception):
    """A page that cannot be used; `reason` is "parse", "samples" or "labels".

    `samples` is how many samples came before the error, `kept` how many of them were kept by relabelling, `added` how
    many of their series were new.
    """

    def __init__(self, reason: str, text: str, samples: int = 0) -> None:
        super().__init__(text)
        self.reason = reason
        self.samples = self.kept = samples
        self.added = 0
