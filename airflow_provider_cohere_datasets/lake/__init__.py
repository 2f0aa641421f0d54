"""What lands in the data lake, and how it gets there."""
