"""What a reader comes to instead of a plaintext: a class, and the clause of the page that refused first."""


class Failure(Exception):
    def __init__(self, clause, what):
        super().__init__(f"[{clause}] {what}")
        self.clause = clause


class FormatFailure(Failure):
    label = "format failure"


class NoConfiguredKey(Failure):
    label = "no configured key"


class UnsupportedWrap(Failure):
    label = "unsupported wrap"


class NotAuthentic(Failure):
    label = "not authentic"


class NotRewrapped(Failure):
    label = "cannot be rewrapped"


def require(condition, clause, what, kind=FormatFailure):
    if not condition:
        raise kind(clause, what)
