"""The exceptions that mean "the user can fix this"."""


class UserError(ValueError):
    """A mistake in a flag, a file or a data set.

    The message says what is wrong, what was found, what was expected and how to fix it, in one line.
    `main.py` prints it without a traceback and exits with its status.

    Attributes:
      flags: each fixes it, with its value, as it is to be typed; () where no flag does.
      status: the exit status.
    """

    status = 2

    def __init__(self, message: str, *, flags: tuple[str, ...] = ()):
        super().__init__(message)
        self.flags = flags


class MissingSplit(UserError):
    """A data set without the split that was asked for.

    Attributes:
      lacks: what would have to be there, such as "no folders val and valannot in data".
    """

    def __init__(self, message: str, *, lacks: str = ""):
        super().__init__(message)
        self.lacks = lacks


class OutOfMemory(UserError):
    """There is not the memory for it now; nothing is wrong with what was given."""


class WorkerLost(UserError):
    """Another worker of the same training never came, or is gone: nothing is wrong here, and starting again helps.

    Args:
      message: as of `UserError`.
      asked: the number of the signal that asked this one to stop, where one did: then its status is that of a stop.
    """

    status = 75  # EX_TEMPFAIL of sysexits.h

    def __init__(self, message: str, *, asked: int | None = None):
        super().__init__(message)
        if asked is not None:
            self.status = 128 + asked
