"""The one exception that means "the user can mend this"."""


class UserError(ValueError):
    """A mistake in a flag, a file or a data set.

    The message says what is wrong, what was found, what was expected and how to mend it, in one line.
    `main.py` prints it without a traceback and exits with status 2.
    """


class MissingSplit(UserError):
    """The data set does not have the split that was asked for; it may have others."""
