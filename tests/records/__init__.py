"""What tests of several folders need of record batches: batches as a producer writes them, events as random as can be."""
