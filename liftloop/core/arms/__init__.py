"""Whether randomized arms are what their plan says: user-level tests and holdouts."""
