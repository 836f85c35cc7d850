"""The long run: many events, rare violations, reloads; nothing may be lost, and nothing may grow. `make soak`."""
