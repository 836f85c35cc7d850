"""Whole source transactions: what `atomic: source-transaction` is made of."""
