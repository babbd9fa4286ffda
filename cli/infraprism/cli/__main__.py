"""`python -m infraprism.cli` is `infraprism`."""

from infraprism.cli.main import main

raise SystemExit(main())
