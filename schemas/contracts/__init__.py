"""What a stream's rows are said to look like, and what a change of that breaks."""
