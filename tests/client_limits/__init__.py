"""Each row of docs/client-limits.md that can be shown: the trap in the plain client, and penstock doing the same job right beside it."""
