"""The subcommands of the console script `hedgeseg`, one file each: `add` declares its arguments, `run` does it."""
