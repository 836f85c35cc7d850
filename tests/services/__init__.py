"""Real services for the tests, started and ended with the session."""
