"""`python -m pipeline.cli`: what the supervisor starts its workers with."""

from pipeline.cli.root import main

main()
