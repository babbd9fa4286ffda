"""`python -m infraprism.cli`: the same as `infraprism`."""

from infraprism.cli.main import main

raise SystemExit(main())
