"""The worker type `autoindex`: runs forked from a warm process, leased and supervised.

    worker          polls Prefect, supervises its runs, recovers lost runs
    └── guard           waits until the zygote or the worker ends, and kills what is left
        └── zygote      one thread; has loaded the flows and their modules
            ├── run     a fork for each flow run
            └── run

Kept light: the zygote and the runs import this package too.
"""

from typing import Final

POOL: Final = "autoindex"
