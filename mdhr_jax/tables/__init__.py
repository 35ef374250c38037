"""The paper's experiments as runs: what each row is, what is left to do, and doing it."""
