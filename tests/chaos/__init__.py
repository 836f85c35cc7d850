"""Real Kafka, real processes, and everything that can go wrong between them. `make chaos`; see CONTRIBUTING.md."""
