"""Bad input at every door. Each test runs a bounded part in `make test`; `make fuzz` runs them longer, with a seed that it prints."""
