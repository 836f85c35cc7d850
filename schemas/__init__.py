"""What things are: data, no I/O, no clock. Imports nothing of ours."""
