"""Introducing budgets by segments: waves, what they show, what they may lose, what is in force."""
