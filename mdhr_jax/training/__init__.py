"""Training, evaluation and what they leave on disk."""
