"""How a subcommand says that it was called wrongly."""


class UsageError(Exception):
    """The arguments fit no call; exit code 2, as for what argparse refuses."""
