"""`python -m vdeblur` is the `vdeblur` command."""

import sys

from vdeblur.cli.main import main

sys.exit(main())
