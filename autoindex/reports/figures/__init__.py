"""The figures of a report, each computed once for every format."""
