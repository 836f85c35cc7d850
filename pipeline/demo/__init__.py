"""`penstock demo`: a shop's change events, some of them poisoned, through the real pipeline; every one of them accounted for."""
