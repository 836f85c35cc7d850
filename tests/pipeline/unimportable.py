"""A module that whoever imports it is sorry about."""

Row = 1 / 0
