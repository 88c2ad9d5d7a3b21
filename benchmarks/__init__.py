"""How fast Autoindex is and how much memory it takes, as ratios within one run.

A benchmark is a module here with a function `ratios()` that measures and returns `Ratio`s; it ends
with `if __name__ == "__main__": sys.exit(table.main(ratios))`. So `python -m benchmarks.upsert`
runs one of them, and `python -m benchmarks` finds and runs all of them, each in its own process.
"""
