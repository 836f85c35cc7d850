"""Golden cases: what a guest must make of which events. Read, run, compared, rewritten, reported."""
