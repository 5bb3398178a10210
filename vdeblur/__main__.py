"""`python -m vdeblur` is the `vdeblur` command."""

from vdeblur.cli.main import command

command()
