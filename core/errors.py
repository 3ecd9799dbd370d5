"""The one exception that means the user's mistake; everything else is a defect of ours."""


class UserError(ValueError):
    """Report a mistake of the user: the wrong value, the rule, and the way out, in one line.

    `core.cli.guard` turns it into that line on stderr and exit code 2. Any other exception is a
    defect: a traceback and exit code 1.
    """
