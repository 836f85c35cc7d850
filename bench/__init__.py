"""Figures with their method; see RESULTS.md."""
