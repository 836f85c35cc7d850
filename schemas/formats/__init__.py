"""Source formats: a record's bytes as a change event, and back."""
