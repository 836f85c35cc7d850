"""`python -m pipeline.cli`: what the supervisor starts its workers with."""

from pipeline.cli import main

main()
