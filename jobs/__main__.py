"""`python -m jobs`: the same as `fastbert-jobs`."""

from jobs.cli import main

main()
