"""The worker type `autoindex`: runs forked from a warm process, leased, supervised, never lost.

    worker          polls Prefect, supervises its runs, looks for lost ones
    └── guard           waits for the zygote's end or the worker's, and ends what is left then
        └── zygote      one thread; has loaded the flows and all they need
            ├── run     a fork for each flow run
            └── run

Kept light: the zygote and the runs import this package too.
"""

from typing import Final

POOL: Final = "autoindex"
