"""What the benches compute from what they measured; nothing is measured here."""
