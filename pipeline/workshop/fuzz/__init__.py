"""Property mode: the cases' events, mutated, must never make the transformer misbehave. Reproducible by its seed."""
