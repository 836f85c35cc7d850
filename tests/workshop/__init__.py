"""Guest projects: made, built, pinned and looked at, as their users do."""
