"""What is made of a recording: facts, the report, and its writers."""
